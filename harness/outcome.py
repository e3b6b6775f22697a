"""How a command ended, for the program that started it: JSON in the file that VERDICT_OUTCOME_FILE names.

{"kind": "hardware", "message": "the cell asks for 2 process(es), but 1 run(s) together: ..."}

No torch here.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import suppress
from pathlib import Path

VARIABLE = "VERDICT_OUTCOME_FILE"


def keep_outcome(kind: str, message: str) -> None:
    """Write the file, if one is asked for and no other process of this run was first.

    Args:
        kind: as `VerdictError.kind` has it, or `usage`, `interrupted`, `paused`, `crashed`.
        message: kept as one line.

    It never fails: whoever reads it knows the exit code too.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return
    path = Path(name)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    text = json.dumps({"kind": kind, "message": " ".join(message.split())}) + "\n"
    with suppress(OSError):
        try:
            temporary.write_text(text, encoding="utf-8")
            _put(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _put(temporary: Path, path: Path) -> None:
    """Give the file its name, unless another has it."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links: of two at once, the last one stays
        if not path.exists():
            temporary.replace(path)
