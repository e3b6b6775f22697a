"""How long the rest of a matrix takes, by its plan and by how long cells have really taken. No torch here.

left = TimeLeft(plan)
left.ended(cell, seconds=312.0)             # a cell has finished, or left.drop(cell) where it will not
left.estimate_s({cell_id: (20.0, 0.25)})    # what runs: seconds so far, and the share of the training done
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.cell import CellSpec
from launch.plan.plan import TO_RUN, Plan, PlannedCell

_KNOWN_SHARE = 0.05
"""From this share of a training on, its own speed says how long it will take."""


class TimeLeft:
    """The cells of a plan that are still to be run, or are running.

    The plan is corrected by the ratio of what the finished cells took to what was planned for them. Cells
    without a figure take as long as others of their model took on average, or by their compute, or as
    long as any. Nothing is known before there is a plan for a cell, or one has finished.

    Args:
        plan: the plan.
        todo: ids of the cells that are to be run; None: all that are not finished, and can be.
    """

    def __init__(self, plan: Plan, todo: Collection[str] | None = None) -> None:
        self._jobs = max(1, plan.jobs)
        self._start_s = plan.start_s or 0.0
        self._left = {
            cell.cell_id: cell
            for cell in plan.cells
            if (cell.state in TO_RUN if todo is None else cell.cell_id in todo)
        }
        self._planned_s = self._took_s = 0.0
        """Of the finished cells that had a plan."""

        self._by_model: dict[tuple[str, int], list[float]] = {}
        self._counted_s = self._counted_flops = 0.0
        """Of the finished cells whose compute is known."""

        self._seconds: dict[str, float | None] | None = None
        """Of each cell that is left; None: to be found out anew."""

        self._all_s: float | None = None
        """Of them together; None: not known of each."""

    def ended(self, cell: CellSpec, seconds: float) -> None:
        """A cell has finished after so many seconds, from the start of its process to its end."""
        planned = self._left.pop(cell.cell_id, None)
        self._seconds = None
        if planned is None:
            return
        expected = planned.time_left_s
        if expected is not None and planned.time_s.basis != "lower_bound":
            self._planned_s += expected + self._start_s
            self._took_s += seconds
        self._by_model.setdefault(_kind(cell), []).append(seconds)
        if planned.flops_left is not None:
            self._counted_s += seconds
            self._counted_flops += planned.flops_left

    def drop(self, cell: CellSpec) -> None:
        """A cell will not be run here any more: it failed, or another launcher has finished it."""
        if self._left.pop(cell.cell_id, None) is not None:
            self._seconds = None

    def estimate_s(self, running: Mapping[str, tuple[float, float | None]]) -> float | None:
        """Seconds until nothing is left.

        Args:
            running: by cell id, seconds since the start of the attempt, and the share of the training
                that is done, if that is known.
        """
        if not self._left:
            return 0.0
        if self._seconds is None:
            self._seconds = self._whole_s()
            known = [seconds for seconds in self._seconds.values() if seconds is not None]
            self._all_s = None if len(known) < len(self._seconds) else sum(known)
        rest = []
        all_s = self._all_s
        for cell_id, (elapsed_s, share) in running.items():
            whole_s = self._seconds.get(cell_id)
            if share is not None and share >= _KNOWN_SHARE:
                rest.append(elapsed_s * (1 - share) / share)
            elif whole_s is not None:
                rest.append(max(0.0, whole_s - elapsed_s))
            elif cell_id in self._seconds:
                return None
            all_s = None if all_s is None else all_s - (whole_s or 0.0)
        if all_s is None:
            return None
        return max([*rest, (sum(rest) + max(0.0, all_s)) / self._jobs])

    def _whole_s(self) -> dict[str, float | None]:
        """Seconds that each cell that is left takes from its start to its end, by cell id."""
        ratio = self._took_s / self._planned_s if self._planned_s > 0 else 1.0
        s_per_flop = self._counted_s / self._counted_flops if self._counted_flops > 0 else None
        of_model = {kind: sum(took) / len(took) for kind, took in self._by_model.items()}
        everything = [seconds for took in self._by_model.values() for seconds in took]
        of_any = sum(everything) / len(everything) if everything else None

        def whole_s(cell: PlannedCell) -> float | None:
            planned_s, flops = cell.time_left_s, cell.flops_left
            if planned_s is not None and cell.time_s.basis != "lower_bound":
                return (planned_s + self._start_s) * ratio
            if _kind(cell.cell) in of_model:
                return of_model[_kind(cell.cell)]
            return of_any if s_per_flop is None or flops is None else flops * s_per_flop

        return {cell_id: whole_s(cell) for cell_id, cell in self._left.items()}


def _kind(cell: CellSpec) -> tuple[str, int]:
    return cell.model, cell.recipe.epochs
