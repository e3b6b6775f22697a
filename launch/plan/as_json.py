"""A plan for programs, as JSON. No torch here."""

from __future__ import annotations

import json
from typing import Any

from launch.plan.plan import Plan, PlannedCell
from launch.screen.text import recipe_name

JSON_SCHEMA = 1


def plan_json(plan: Plan) -> str:
    """The plan as JSON. Times are in seconds, compute in FLOPs (1 multiply-add = 2), null is not known.

    - `schema_version`: 1
    - `out`, `jobs`: folder of the runs, and cells at once
    - `machine`: `hostname`, `device_type`, `device`, `cores_per_cell`
    - `process_start_s`: of each cell, beside its own time; part of `time_left_s` below
    - `totals`: `num_cells`, `num_by_state` (an object), `num_excluded`, `num_to_run`, `time_left_s` (of what
      is to run, `jobs` at once), `num_without_time`, `num_lower_bounds`, `flops_left`, `num_without_flops`,
      `flops_finished`
    - `cells`, in the order of the matrix: `cell_id`, `label`, `model`, `augmentation`, `recipe` (a name for
      people), `precision`, `strategy`, `num_processes`, `seed`, `epochs`, `state` (see `PlannedCell`),
      `failure_kind`, `reason`, `share_left` (0 to 1), `time_s` (of the whole cell), `time_left_s`,
      `time_basis` and `train_flops_basis` (see `Figure`), `time_note`, `train_flops`, `train_flops_left`,
      `train_flops_note`
    - `excluded`: `cell_id`, `label`, `reason`
    """
    totals = plan.totals
    content = {
        "schema_version": JSON_SCHEMA,
        "out": str(plan.out),
        "jobs": plan.jobs,
        "machine": {
            "hostname": plan.machine.hostname,
            "device_type": plan.machine.device_type,
            "device": plan.machine.device,
            "cores_per_cell": plan.machine.cores,
        },
        "process_start_s": plan.start_s,
        "totals": {
            "num_cells": len(plan.cells),
            "num_by_state": totals.num_by_state,
            "num_excluded": len(plan.excluded),
            "num_to_run": totals.num_to_run,
            "time_left_s": totals.time_left_s,
            "num_without_time": totals.num_without_time,
            "num_lower_bounds": totals.num_lower_bounds,
            "flops_left": totals.flops_left,
            "num_without_flops": totals.num_without_flops,
            "flops_finished": totals.flops_finished,
        },
        "cells": [_cell_values(cell) for cell in plan.cells],
        "excluded": [
            {"cell_id": cell.cell_id, "label": cell.label(), "reason": reason}
            for cell, reason in plan.excluded
        ],
    }
    return json.dumps(content, indent=1)


def _cell_values(planned: PlannedCell) -> dict[str, Any]:
    cell = planned.cell
    return {
        "cell_id": planned.cell_id,
        "label": cell.label(),
        "model": cell.model,
        "augmentation": cell.augmentation,
        "recipe": recipe_name(cell.model, cell.recipe),
        "precision": cell.precision,
        "strategy": cell.strategy,
        "num_processes": cell.num_processes,
        "seed": cell.seed,
        "epochs": cell.recipe.epochs,
        "state": planned.state,
        "failure_kind": planned.kind,
        "reason": planned.reason,
        "share_left": planned.share_left,
        "time_s": planned.time_s.value,
        "time_left_s": planned.time_left_s,
        "time_basis": planned.time_s.basis,
        "time_note": planned.time_s.note,
        "train_flops": planned.flops.value,
        "train_flops_left": planned.flops_left,
        "train_flops_basis": planned.flops.basis,
        "train_flops_note": planned.flops.note,
    }
