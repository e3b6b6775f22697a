"""What cells would cost, counted and measured in a process that has torch, for commands that do not load it.

    python -m harness.estimate < requests.jsonl > replies.jsonl

Each request is a line of JSON, and so is its reply; the first line says that everything is loaded:

    {"ready": true}
    {"key": "a", "cell": {...}, "num_classes": 10, "num_fit": 45000}
        {"key": "a", "num_params": ..., "forward_flops_per_image": ..., "train_flops_per_image": ...,
         "total_train_flops": ...}    or    {"key": "a", "problem": "why it cannot be counted"}
    {"key": "m", "machine": {"cpu": false, "threads": null, "precisions": ["bf16"]}}
        {"key": "m", "hostname": ..., "device": ..., "device_type": ..., "threads": ...,
         "peak_flop_per_s": {"bf16": ...}, "problems": {"fp16": "why it has no peak here"}}
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import torch

from harness.cell import Precision, make_cell
from harness.environment import describe_environment
from harness.errors import UsageError, VerdictError
from harness.model import count_compute
from harness.peak_flops import measured_peak
from harness.process import Process, use_threads
from models.errors import ModelError

_LOADED_BY_A_RUN = (
    "harness.run_cell",
    "harness.datasets.everywhere",
    "results.leaderboard.table",
    "results.table",
)


def main() -> None:
    """Answer every request on stdin."""
    replies, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no reply
    for module in _LOADED_BY_A_RUN:  # so that the first line comes when a run would begin
        importlib.import_module(module)
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = _machine(**request["machine"]) if "machine" in request else _count(request)
        print(json.dumps({"key": request["key"], **answer}), file=replies, flush=True)


def _count(request: dict[str, Any]) -> dict[str, Any]:
    """The compute of a cell, or why it cannot be counted."""
    try:
        cell = make_cell(**request["cell"])
        num_fit: int = request["num_fit"]
        steps_per_epoch = num_fit // cell.recipe.batch_size
        if steps_per_epoch == 0:
            raise UsageError(f"batch size {cell.recipe.batch_size} is larger than the {num_fit} images")
        facts = count_compute(cell, request["num_classes"], num_fit, steps_per_epoch)
    except (VerdictError, ModelError) as error:
        return {"problem": str(error)}
    except Exception as error:  # noqa: BLE001  # a model of a library may raise anything; the others count
        return {"problem": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}
    return {
        name: getattr(facts, name)
        for name in ("num_params", "forward_flops_per_image", "train_flops_per_image", "total_train_flops")
    }


def _machine(cpu: bool, threads: int | None, precisions: list[Precision]) -> dict[str, Any]:
    """Who this machine is, and how fast it multiplies matrices."""
    use_threads(threads)
    on_gpu = torch.cuda.is_available() and not cpu
    device = torch.device("cuda", 0) if on_gpu else torch.device("cpu")
    process = Process(0, 0, 1, device, "NO", None)
    found = describe_environment(process)
    peaks: dict[str, float | None] = {}
    problems: dict[str, str] = {}
    for precision in precisions:
        try:
            peaks[precision] = measured_peak(precision, device)
        except VerdictError as error:
            peaks[precision], problems[precision] = None, str(error)
    return {
        "hostname": found.hostname,
        "device": found.device,
        "device_type": found.device_type,
        "threads": found.threads_per_process,
        "peak_flop_per_s": peaks,
        "problems": problems,
    }


if __name__ == "__main__":
    main()
