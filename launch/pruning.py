"""Which cells are worth more training: asynchronous successive halving over a matrix. No torch here.

    halving = Halving(cells)
    cell, until_epoch = halving.next_job()            # train it up to there, then say how it did:
    halving.report(cell.cell_id, until_epoch, 0.61)   # or halving.failed(cell.cell_id)
    halving.waiting()                                 # what was stopped early, and why
    halving.fill()                                    # when all were tried: the best of those, to their end

This is `get_job` of ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning",
arXiv 1810.05934, algorithm 2). A cell is trained to a ninth of its own epochs, a third, and its end
(for eta 3): its rungs. A worker that is free promotes the best cell that is among the top 1/eta of a
rung, looking from the highest rung down; if there is none, it starts a new cell. Nobody ever waits for
a rung to be complete.

What differs from the paper: the cells are given, not drawn without end, so those that were not
promoted are trained on in the end if there is room; and they are compared only with cells of the same
data, validation images and league, after the same share of their own training. There are three rungs,
not more, because at 1/27 most recipes are still warming up their learning rate.

Nothing here reads a clock, a file or a random number: the same calls give the same answers.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from harness.cell import CellSpec
from harness.errors import UsageError
from launch.rungs import LAST, NUM_RUNGS, Contender, Key, Rung, epochs_by_rung, take_out


@dataclass(frozen=True)
class Waiting:
    """A cell that was stopped early, and may be trained on."""

    cell: CellSpec
    epoch: int
    """Epochs completed."""

    score: float
    """Validation accuracy then, 0 to 1."""

    why: str
    """One line for people."""


class Halving:
    """What to train next, and how far.

    New cells are started in the order of their ids, which are hashes: a random draw, as the paper has
    it, that is the same everywhere. In the order of the matrix, a small budget would be spent on its
    first models.

    Args:
        cells: those of the matrix.
        eta: one in so many is promoted.
        known: what is known already, such as from a launcher before: cell id, epochs completed,
            validation accuracy then.

    Raises:
        UsageError: a cell has no validation images, or `eta` is below 2.
    """

    def __init__(
        self, cells: Iterable[CellSpec], eta: int = 3, known: Iterable[tuple[str, int, float]] = ()
    ) -> None:
        if eta < 2:
            raise UsageError(f"eta {eta}: expected 2 or more: one in so many cells is promoted")
        self._eta = eta
        self._groups: dict[tuple[object, ...], list[Rung]] = {}
        ordered = sorted({cell.cell_id: cell for cell in cells}.items())
        self._states = {
            cell_id: self._new_state(cell, order) for order, (cell_id, cell) in enumerate(ordered)
        }
        self._by_order = list(self._states.values())
        self._new = list(range(len(ordered)))
        self._untried = set(self._states)
        self._interrupted: set[str] = set()
        self._open = set(self._states)
        for cell_id, epoch, score in sorted(known, key=lambda triple: triple[1]):
            self.report(cell_id, epoch, score)

    def __len__(self) -> int:
        """How many cells have neither come to their end nor failed."""
        return len(self._open)

    def rungs(self, cell: CellSpec) -> list[int]:
        """Epochs after which the cell is compared with others; the last are all of its epochs."""
        return list(epochs_by_rung(cell.recipe.epochs, self._eta).values())

    def next_job(self, can_start_new: bool = True, skip: Collection[str] = ()) -> tuple[CellSpec, int] | None:
        """The cell to train now and the epoch to stop after; None: there is nothing to do for now.

        What was promoted and then interrupted comes first, then promotions, then new cells.

        Args:
            can_start_new: False: only go on with cells that were started.
            skip: ids of cells that are not to be touched, such as those that another launcher has.
        """
        state = self._resume(skip) or self._promote(skip)
        if state is None and can_start_new:
            new = (self._by_order[order] for order in self._new)
            state = next((state for state in new if state.cell_id not in skip), None)
        return None if state is None else self._give_out(state, state.next_goal())

    def fill(self, skip: Collection[str] = ()) -> tuple[CellSpec, int] | None:
        """The best of the cells that were stopped early, to be trained to its end; None: there is none.

        Those stopped later come first. Nothing is given before every cell has been tried.
        """
        if any(cell_id not in skip for cell_id in self._untried):
            return None
        for number in reversed(range(LAST)):
            first = []
            for rungs in self._groups.values():
                rung = rungs[number]
                keys = (key for key in rung.not_promoted if self._by_order[key[1]].cell_id not in skip)
                first += [(rung.place(key), key[1]) for key in keys][:1]
            if first:
                state = self._by_order[min(first)[1]]
                job = self._give_out(state, LAST)
                state.is_filling = True
                return job
        return None

    def report(self, cell_id: str, epoch: int, score: float) -> None:
        """Say how a cell does, whoever trained it; it is not in training any more.

        Of earlier epochs those that are known come first: a later score stands for one that is not.

        Args:
            cell_id: of a cell of the matrix.
            epoch: epochs completed.
            score: validation accuracy after that epoch, 0 to 1.
        """
        assert 0 <= score <= 1, f"{score} is no accuracy"
        state = self._states[cell_id]
        state.is_out = False
        state.epoch = max(state.epoch, epoch)
        reached = [number for number, at in state.epochs_at.items() if at <= epoch]
        for number in reached:
            if number not in state.scores and not (state.is_filling and number < LAST):
                state.scores[number] = score
                bisect.insort(state.rungs[number].scored, state.key(number))
                bisect.insort(state.rungs[number].not_promoted, state.key(number))
        later = [number for number, at in state.epochs_at.items() if at >= epoch]
        self._set_goal(state, max(min(later, default=LAST), -1 if state.goal is None else state.goal))
        if reached:
            self._untried.discard(cell_id)
        if LAST in state.scores:
            self._open.discard(cell_id)
        else:
            self._open.add(cell_id)

    def failed(self, cell_id: str) -> None:
        """Say that a cell will not be trained on; the others are not compared with it any more."""
        state = self._states[cell_id]
        for number in state.scores:
            state.rungs[number].remove(state.key(number))
        state.scores.clear()
        state.is_out = False
        take_out(self._new, state.order)
        for cell_ids in (self._untried, self._interrupted, self._open):
            cell_ids.discard(cell_id)

    def put_back(self, cell_id: str) -> None:
        """Say that a job has brought nothing: it is as if it had not been given out."""
        state = self._states[cell_id]
        if not state.is_out:
            return
        state.goal, state.is_out, state.is_filling = state.goal_before, False, False
        if state.goal is None:
            bisect.insort(self._new, state.order)
        elif state.epoch < state.goal_epoch:
            self._interrupted.add(cell_id)
        else:
            bisect.insort(state.rungs[state.goal].not_promoted, state.key(state.goal))

    def waiting(self) -> list[Waiting]:
        """The cells that were stopped early and not promoted, those stopped latest and the best first."""
        found = []
        for number in reversed(range(LAST)):
            for rungs in self._groups.values():
                rung = rungs[number]
                found += [self._explain(rung, number, key) for key in rung.not_promoted]
        return found

    def _new_state(self, cell: CellSpec, order: int) -> Contender:
        if cell.val_fraction == 0:
            raise UsageError(
                "cells are stopped early by their accuracy on validation images, and val_fraction 0 leaves "
                "none: set it to 0.1, or run without a budget"
            )
        yardstick = (cell.data_fingerprint or cell.dataset, cell.val_fraction, cell.league)
        rungs = self._groups.setdefault(yardstick, [Rung() for _ in range(NUM_RUNGS)])
        return Contender(cell, order, rungs, epochs_by_rung(cell.recipe.epochs, self._eta))

    def _resume(self, skip: Collection[str]) -> Contender | None:
        states = [self._states[cell_id] for cell_id in self._interrupted if cell_id not in skip]
        return min(states, key=lambda state: (-(state.goal or 0), state.order), default=None)

    def _promote(self, skip: Collection[str]) -> Contender | None:
        for number in reversed(range(LAST)):
            for rungs in self._groups.values():
                rung = rungs[number]
                for key in rung.not_promoted:
                    if rung.place(key) >= len(rung.scored) // self._eta:
                        break
                    state = self._by_order[key[1]]
                    if state.cell_id not in skip:
                        return state
        return None

    def _set_goal(self, state: Contender, goal: int) -> None:
        """Let a cell be trained to a rung: it has been promoted in those below."""
        state.goal = goal
        take_out(self._new, state.order)
        for number in state.scores:
            if number < goal:
                take_out(state.rungs[number].not_promoted, state.key(number))
        if state.epoch < state.goal_epoch:
            self._interrupted.add(state.cell_id)
        else:
            self._interrupted.discard(state.cell_id)

    def _give_out(self, state: Contender, goal: int) -> tuple[CellSpec, int]:
        state.is_out, state.goal_before = True, state.goal
        self._set_goal(state, goal)
        self._interrupted.discard(state.cell_id)
        return state.cell, state.goal_epoch

    def _explain(self, rung: Rung, number: int, key: Key) -> Waiting:
        state = self._by_order[key[1]]
        score, epoch = state.scores[number], state.epochs_at[number]
        why = (
            f"stopped after epoch {epoch} of {state.cell.recipe.epochs}: validation accuracy {score:.2%} is "
            f"place {rung.place(key) + 1} of {len(rung.scored)} there, and one in {self._eta} goes on"
        )
        return Waiting(state.cell, epoch, score, why)
