"""The same data on every process, downloaded and prepared once on each machine."""

from __future__ import annotations

from harness.cell import CellSpec
from harness.datasets.base import Dataset
from harness.datasets.registry import load_dataset
from harness.errors import DataError
from harness.process import Process
from harness.settings import Settings


def load_everywhere(cell: CellSpec, settings: Settings, process: Process) -> Dataset:
    """Load the data of a cell; the first process of each machine prepares them, and the main one speaks.

    Raises:
        DataError: they cannot be had, or differ from machine to machine.
    """
    if process.local_rank != 0:
        process.wait_for_all(patiently=True)
    data = load_dataset(
        cell.dataset,
        settings.data_dir,
        cell.image_size,
        settings.allow_unofficial_data,
        quiet=not process.is_main,
    )
    if process.local_rank == 0:
        process.wait_for_all(patiently=True)
    if process.agree(data.provenance.fingerprint) != data.provenance.fingerprint:
        raise DataError(f"{data.provenance.source} on this machine is not what the main process has")
    return data
