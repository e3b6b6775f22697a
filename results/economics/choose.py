"""Which run stands for building, and who for buying.

    vendor = choose_vendor(None)                                  # Detectocorp, as it claims to be
    candidate = choose_candidate(load_table(Path("runs"), CHOICE_COLUMNS), None, vendor, assumptions)
    candidate.run, candidate.notes

The run is chosen by what building on it would cost over the horizon, wrong predictions included, with the
accuracy on held-out validation images in place of that on the test images: whatever is picked for its test
accuracy looks better than it is (Cawley and Talbot 2010, "On Over-fitting in Model Selection", section 1).
Of a cell's seeds the one in the middle by validation accuracy stands for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError, unknown_name
from results.audit.result import Audit, read_audit
from results.economics.assumptions import Assumptions
from results.economics.cash_flow import difference_usd
from results.economics.facts import BuyFacts, audited_facts, build_facts, claimed_facts
from results.economics.uncertainty import central_values
from results.index.run_table import RunTable
from results.references import load_references
from results.store import Run, load_run
from results.value.peers import PEER_COLUMNS, Peers, peer_groups

VENDOR = "detectocorp"
"""The reference whose claim is weighed where no audit is given."""

NUM_WEIGHED = 12
"""Cells of highest validation accuracy, of each league, whose costs are compared."""

CHOICE_COLUMNS = (*PEER_COLUMNS, "seed", "val_accuracy_percent")
"""What `choose_candidate` reads of a table."""

_SHOWN_FINGERPRINT = 8
"""Characters of a fingerprint in a table."""


@dataclass(frozen=True)
class Vendor:
    """Who stands for buying."""

    facts: BuyFacts
    audit: Audit | None
    dataset: str | None
    """That a claim is about; None: an audit, which knows its images."""

    @property
    def source(self) -> str:
        """Where its accuracy comes from."""
        return VENDOR if self.audit is None else f"audit of {self.audit.vendor}"


@dataclass(frozen=True)
class Candidate:
    """A cell to build on."""

    run: Run
    """The seed that stands for it."""

    seeds: tuple[Run, ...]
    """All of them, that one included."""

    notes: tuple[str, ...]
    """What has to be said about the choice."""


@dataclass(frozen=True)
class _Cell:
    peers: Peers
    place: int

    @property
    def rows(self) -> NDArray[np.int64]:
        """Of its seeds in the table."""
        rows: NDArray[np.int64] = self.peers.rows[self.peers.places == self.place]
        return rows


def choose_vendor(audit: Path | None) -> Vendor:
    """The vendor of an audit, or Detectocorp's claim where there is none.

    Raises:
        VerdictError: the folder holds no audit that can be read.
    """
    if audit is None:
        reference = load_references()[VENDOR]
        return Vendor(claimed_facts(reference), None, reference.dataset)
    found = read_audit(audit)
    return Vendor(audited_facts(found), found, None)


def choose_candidate(
    table: RunTable, cell: str | None, vendor: Vendor, assumptions: Assumptions
) -> Candidate:
    """The cell of a folder to build on, or the one of a named run.

    Only runs on the images that the vendor was audited on, or on the data set that its claim is about, are
    chosen from; where there is none for a claim, from all on the same images.

    Args:
        table: of the runs, with at least `CHOICE_COLUMNS`.
        cell: beginning of a cell id; None: choose.
        vendor: whose side of the costs is the same for each run.
        assumptions: what building costs.

    Raises:
        UsageError: there is no finished run, or not the named one, or the audit is about other images.
        DataError: the run that was chosen cannot be trusted.
    """
    folder, groups = table.folder, peer_groups(table)
    if not groups:
        raise UsageError(f"no finished run in '{folder}': run a matrix into it first")
    if cell is not None:
        found, cell_id = _named(groups, cell)
        return _candidate(folder, found, cell_id, ["This run was named with --cell, not chosen."])
    fitting = _on_the_vendors_images(groups, vendor)
    cells = [_Cell(peers, place) for peers in fitting for place in _most_accurate(peers)]
    seeds = [_middle_seed(each) for each in cells]
    runs = [_load(folder, cell_id) for cell_id in seeds]
    best = int(np.argmax([_saving_usd(run, vendor.facts, assumptions) for run in runs]))
    notes = [_how_chosen(fitting, len(cells), runs[best])]
    if len(fitting) < len(groups):
        notes.append("Runs on other images are in the folder too; they were left out.")
    return _candidate(folder, cells[best], seeds[best], notes)


def _named(groups: Sequence[Peers], cell: str) -> tuple[_Cell, str]:
    ids = {
        str(peers.table.texts("cell_id")[row]): _Cell(peers, int(place))
        for peers in groups
        for row, place in zip(peers.rows, peers.places, strict=True)
    }
    found = [cell_id for cell_id in ids if cell_id.startswith(cell)] if cell else []
    if len(found) > 1:
        raise UsageError(f"--cell {cell}: {len(found)} runs begin like that: give more of the id")
    if not found:
        raise unknown_name("finished run", cell, ids)
    return ids[found[0]], found[0]


def _on_the_vendors_images(groups: Sequence[Peers], vendor: Vendor) -> list[Peers]:
    """Those on the same images: official first, then the larger test set, then the larger group."""
    fitting = list(groups)
    if vendor.audit is not None and vendor.audit.stored.test_fingerprint is not None:
        asked = vendor.audit.stored.test_fingerprint[:_SHOWN_FINGERPRINT]
        fitting = [peers for peers in groups if peers.table.texts("test_fingerprint")[peers.rows[0]] == asked]
        if not fitting:
            raise UsageError(
                f"the audit of {vendor.audit.vendor} is about other images than all runs of the folder: "
                "audit the vendor on the test images of the runs"
            )
    elif vendor.dataset is not None:
        fitting = [peers for peers in groups if peers.dataset == vendor.dataset] or fitting
    first = min(fitting, key=lambda peers: (not peers.is_official, -peers.num_test_images, -len(peers)))
    return [
        peers
        for peers in fitting
        if (peers.dataset, peers.data_fingerprint) == (first.dataset, first.data_fingerprint)
    ]


def _most_accurate(peers: Peers) -> list[int]:
    """The cells of highest validation accuracy, or test accuracy where nothing was held out."""
    accuracies = peers.means("val_accuracy_percent")
    accuracies = np.where(np.isnan(accuracies), peers.means("test_accuracy_percent"), accuracies)
    places: list[int] = np.argsort(-accuracies, kind="stable")[:NUM_WEIGHED].tolist()
    return places


def _middle_seed(cell: _Cell) -> str:
    """The id of the run in the middle by validation accuracy; of an even number the lower one."""
    table, rows = cell.peers.table, cell.rows
    accuracies = table.numbers("val_accuracy_percent")[rows]
    if np.isnan(accuracies).any():
        accuracies = table.numbers("test_accuracy_percent")[rows]
    middle = np.argsort(accuracies, kind="stable")[(len(rows) - 1) // 2]
    return str(table.texts("cell_id")[rows[middle]])


def _load(folder: Path, cell_id: str) -> Run:
    found = load_run(folder / cell_id)
    if found is None:
        raise UsageError(f"the run '{folder / cell_id}' is gone: call again")
    return found[0]


def _saving_usd(run: Run, buy: BuyFacts, assumptions: Assumptions) -> float:
    """Cost of buying less that of building on `run`, by its validation accuracy."""
    assert run.scores is not None
    build = build_facts(run)
    if run.scores.val_accuracy_percent is not None:
        build = replace(build, accuracy_percent=run.scores.val_accuracy_percent)
    return float(difference_usd(build, central_values(build, buy, assumptions))[0])


def _how_chosen(fitting: Sequence[Peers], num_weighed: int, run: Run) -> str:
    assert run.scores is not None
    num_cells = sum(len(peers) for peers in fitting)
    of_them = "" if num_weighed == num_cells else f"the {num_weighed:,} most accurate of "
    leagues = " and ".join(sorted({peers.league for peers in fitting}))
    if run.scores.num_val:
        by = f"accuracy on {run.scores.num_val:,} held-out validation images"
    else:
        by = "accuracy on the test images themselves, since none were held out: it is optimistic"
    where = f"{of_them}{num_cells:,} cell(s) ({leagues})"
    return f"Chosen from {where} for the lowest cost, errors included, by {by}."


def _candidate(folder: Path, cell: _Cell, cell_id: str, notes: list[str]) -> Candidate:
    ids = [str(each) for each in cell.peers.table.texts("cell_id")[cell.rows]]
    if cell.peers.league == "pre-trained":
        notes = [*notes, "It started from pre-trained weights; what those cost to make is not counted."]
    if len(ids) > 1:
        notes = [*notes, f"Of its {len(ids)} seeds, {cell_id} is the middle one by validation accuracy."]
    runs = {each: _load(folder, each) for each in ids}
    return Candidate(runs[cell_id], tuple(runs.values()), tuple(notes))
