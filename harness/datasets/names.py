"""The data sets that a cell can name. No torch here, and nothing that is slow to import."""

from __future__ import annotations

from harness.errors import UsageError, unknown_name

DATASET_KINDS = ("cifar10", "digits", "imagefolder")


def split_dataset_name(name: str) -> tuple[str, str | None]:
    """Split `imagefolder:PATH` into kind and path; the path is None for the other kinds.

    Raises:
        UsageError: the kind is unknown, or a path is missing or not wanted.
    """
    kind, colon, path = name.partition(":")
    if kind not in DATASET_KINDS:
        raise unknown_name("dataset", name, ["cifar10", "digits", "imagefolder:PATH"])
    if kind == "imagefolder" and not path:
        raise UsageError("dataset 'imagefolder' needs the path of a folder: imagefolder:PATH")
    if kind != "imagefolder" and colon:
        raise UsageError(f"dataset '{kind}' takes no path: say '{kind}' and use --data-dir")
    return kind, path or None
