"""The numbered files by which launchers claim cells; `launch/claim.py` says what they mean. No torch here."""

from __future__ import annotations

import errno
import os
import re
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import StorageError
from harness.files import storage_error

_NUMBERED = re.compile(r"(\d{6,})\.json")
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems without hard links answer."""

Written = tuple[bytes, int | None]
"""Content of a file and when it was written, in nanoseconds by the file system's clock; None: no file."""


class Claim(BaseModel):
    """What a claim file says."""

    model_config = ConfigDict(frozen=True)

    launcher: str
    host: str
    boot: str
    pid: int = Field(ge=1, lt=2**31)
    start: int | None
    """Of the process, in clock ticks since the boot; null where that cannot be seen."""

    since: float
    """Seconds since 1970, by the owner's clock."""

    beat: int = 0
    """How often the owner has given a sign of life."""

    released: bool = False

    def as_bytes(self) -> bytes:
        """What is written."""
        return self.model_dump_json().encode() + b"\n"


def claim_path(folder: Path, number: int) -> Path:
    """The file of a claim in a claims folder."""
    return folder / f"{number:06d}.json"


def scan(folder: Path) -> tuple[int, list[Path]]:
    """The highest number in a claims folder, 0 where there is none; and its temporary files.

    Raises:
        StorageError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return 0, []
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror or error}") from error
    numbers = [int(match[1]) for name in names if (match := _NUMBERED.fullmatch(name))]
    return max(numbers, default=0), [folder / name for name in names if name.endswith(".tmp")]


def read_claim(path: Path) -> tuple[Claim | None, Written]:
    """A claim, None where it is damaged or missing; and the file as it is.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:  # opening makes an NFS client ask the server
            written = file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None, (b"", None)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return Claim.model_validate_json(written[0]), written
    except ValidationError:
        return None, written


def make_claim(path: Path, claim: Claim) -> bool:
    """Write a claim to `path` unless that exists; whether it was done.

    Raises:
        StorageError: the file cannot be written.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(claim.as_bytes())
        return _link(temporary, path, claim)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        delete(temporary)


def replace_claim(path: Path, claim: Claim) -> None:
    """Write the new content of a claim, or whatever there is room for.

    On a full disk a claim is only touched, which is a sign of life too; one to be released is cut off,
    and ends as damaged ones do.

    Raises:
        StorageError: not even that can be done.
    """
    temporary = _temporary(path)
    try:
        try:
            temporary.write_bytes(claim.as_bytes())
            temporary.replace(path)
        except OSError:
            if claim.released:
                os.truncate(path, 0)
            else:
                os.utime(path)
    except FileNotFoundError:
        return  # somebody has deleted the folder of the run
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        delete(temporary)


def delete(path: Path) -> None:
    """Delete a file, if it is there.

    Raises:
        StorageError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def _link(temporary: Path, path: Path, claim: Claim) -> bool:
    """Give the temporary the name `path` unless that is taken; whether it was done."""
    try:
        path.hardlink_to(temporary)
    except FileNotFoundError:
        return False  # whoever was first has deleted the temporary
    except OSError as error:
        if error.errno in _NO_LINKS:
            return _create(path, claim)
        # The reply of an NFS server can be lost, and the request, sent again, find the name taken: by us.
        if _num_names(temporary) == 2:
            return True
        if isinstance(error, FileExistsError):
            return False
        raise
    return True


def _num_names(path: Path) -> int:
    try:
        return path.stat().st_nlink
    except FileNotFoundError:
        return 0


def _create(path: Path, claim: Claim) -> bool:
    """The same where there are no hard links: for an instant the file looks damaged, which does no harm."""
    try:
        with path.open("xb") as file:
            file.write(claim.as_bytes())
    except FileExistsError:
        return False
    return True
