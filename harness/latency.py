"""How long a trained model takes to classify a batch, and how many images it classifies in a second.

    python -m harness.latency runs/0123456789ab
    python -m harness.latency runs/0123456789ab --backends eager,compiled,onnx,int8 --threads 1 --json

Each call goes from uint8 images, as the data set has them, to logits, and the device is waited for around
it. Calls that warm up come before and do not count. Percentiles are those of single calls; throughput is
that of all of them together. For each batch size the backends follow one another directly.

`eager` and `compiled` compute in the precision that the run was trained in; `onnx` is the export in fp32, and
`int8` the same in 8-bit integers. `int8` is made here for its speed, from images of noise; what it costs in
accuracy is said by `harness.export`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.call_times import CALLS_FOR_P99, LatencyRow, measure_latency
from harness.console import run_command
from harness.errors import HardwareError, MemoryShortError, UsageError, unknown_name
from harness.latency_backends import Backend, Batches, compiled, eager, make_batches, onnx
from harness.onnx_model import export_onnx, load_package
from harness.out_of_memory import is_out_of_memory
from harness.process import use_threads
from harness.quantize import quantize_int8
from harness.stored_model import StoredModel, load_stored_model

BACKENDS = ("eager", "compiled", "onnx", "int8")
_MOST_BATCH_SIZES = 8
"""As often as torch compiles one function again."""


@dataclass(frozen=True)
class Latency:
    """What one backend takes."""

    backend: str
    precision: str
    threads: int
    """CPU threads; on a GPU those of the host."""

    device: str
    rows: tuple[LatencyRow, ...]
    compile_time_s: float | None = None
    """Before the rows; None: nothing is compiled."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def command(
    run: Annotated[Path, typer.Argument(help="folder of a finished run", show_default=False)],
    batch_sizes: Annotated[str, typer.Option(help=f"up to {_MOST_BATCH_SIZES}")] = "1,8,32,128",
    backends: Annotated[str, typer.Option(help=f"some of {', '.join(BACKENDS)}")] = "eager,compiled",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads (all cores)", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="at most, for each row")] = 10.0,
    cpu: Annotated[bool, typer.Option("--cpu", help="also where there is a GPU")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, with the time of every call")] = False,
) -> None:
    """Measure and print."""
    sizes, names = _sizes(batch_sizes), _names(backends)
    if {"onnx", "int8"} & set(names):
        load_package("onnxruntime")  # better now than after the others
    use_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    stored = load_stored_model(run, device)
    try:
        batches = make_batches(sizes, stored.source_size, device)
        with tempfile.TemporaryDirectory(prefix="verdict-latency-") as folder:
            ready, problems = _start(names, run, stored, batches, device, Path(folder))
            results = measure_backends(ready, sizes, seconds)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryShortError(f"--batch-sizes {batch_sizes}: memory ran out: try smaller ones") from None
    if as_json:
        print(json.dumps(as_values(results, problems), indent=1))
        return
    Console().print(as_table(results, stored.record.cell.label()))
    for latency in results:
        if latency.compile_time_s is not None:
            print(f"{latency.backend}: {latency.compile_time_s:,.1f} s to compile, not in the table")
    for name, problem in problems.items():
        print(f"{name}: not here: {problem}")


def _start(
    names: list[str], run: Path, stored: StoredModel, batches: Batches, device: torch.device, folder: Path
) -> tuple[list[Backend], dict[str, str]]:
    """The backends that this machine has, and why it does not have the others."""
    exported = folder / "model.onnx"
    ready: list[Backend] = []
    problems: dict[str, str] = {}
    for name in names:
        try:
            if name in ("onnx", "int8") and not exported.exists():
                on_cpu = stored if device.type == "cpu" else load_stored_model(run, torch.device("cpu"))
                export_onnx(on_cpu, exported)
            ready.append(_backend(name, stored, batches, device, exported))
        except (HardwareError, UsageError) as error:
            problems[name] = str(error)
    return ready, problems


def _backend(
    name: str, stored: StoredModel, batches: Batches, device: torch.device, exported: Path
) -> Backend:
    if name in ("eager", "compiled"):
        make = eager if name == "eager" else compiled
        return make(stored.module, stored.normalize, stored.record.cell.precision, batches, device)
    if name == "onnx":
        return onnx(exported, batches, device, name, "fp32")
    smaller = exported.with_name("model.int8.onnx")
    largest = batches[max(batches)].cpu().contiguous().numpy()
    quantize_int8(exported, smaller, "static", largest)
    return onnx(smaller, batches, device, name, "int8")


def measure_backends(backends: list[Backend], batch_sizes: list[int], max_time_s: float) -> list[Latency]:
    """What each backend takes; with one batch size all of them before the next, so that they compare."""
    rows: dict[str, list[LatencyRow]] = {backend.name: [] for backend in backends}
    for batch_size in batch_sizes:
        for backend in backends:
            rows[backend.name] += measure_latency(
                backend.call,
                [batch_size],
                synchronize=backend.synchronize,
                min_time_s=min(1.0, max_time_s),
                max_time_s=max_time_s,
            )
    return [
        Latency(
            backend.name,
            backend.precision,
            backend.threads,
            backend.device,
            tuple(rows[backend.name]),
            backend.compile_time_s,
        )
        for backend in backends
    ]


def speedup(row: LatencyRow, results: list[Latency]) -> float | None:
    """How many times as fast as `eager` a median call with the same batch size is; None without it."""
    for other in results:
        if other.backend == "eager":
            (same,) = (found for found in other.rows if found.batch_size == row.batch_size)
            return same.p50_ms / row.p50_ms
    return None


def as_table(results: list[Latency], title: str) -> Table:
    """The rows by batch size, each held against `eager`."""
    table = Table(title=Text(title), caption=Text(_places(results)), box=SIMPLE_HEAD, pad_edge=False)
    for name in ("batch", "backend", "precision", "p50 ms", "p90 ms", "p99 ms", "images/s", "vs eager"):
        table.add_column(name, justify="left" if name in ("backend", "precision") else "right", no_wrap=True)
    for index in range(len(results[0].rows) if results else 0):
        for latency in results:
            row, faster = latency.rows[index], speedup(latency.rows[index], results)
            table.add_row(
                str(row.batch_size),
                latency.backend,
                latency.precision,
                _number(row.p50_ms),
                _number(row.p90_ms),
                _number(row.p99_ms),
                f"{row.images_per_s:,.0f}",
                "" if faster is None else f"{faster:.2f}x",
            )
        table.add_section()
    return table


def _places(results: list[Latency]) -> str:
    """Where the backends ran, and what the table does not say."""
    places = {f"{latency.device}, {latency.threads} thread(s)" for latency in results}
    return f"on {' and '.join(sorted(places))}; —: fewer than {CALLS_FOR_P99} calls"


def as_values(results: list[Latency], problems: dict[str, str]) -> dict[str, Any]:
    """The same for a program, with what was measured of every call."""
    return {
        "results": [
            {
                "backend": latency.backend,
                "precision": latency.precision,
                "threads": latency.threads,
                "device": latency.device,
                "compile_time_s": latency.compile_time_s,
                "rows": [
                    {
                        "batch_size": row.batch_size,
                        "num_calls": row.num_calls,
                        "p50_ms": row.p50_ms,
                        "p90_ms": row.p90_ms,
                        "p99_ms": row.p99_ms,
                        "p99_reason": row.p99_reason or None,
                        "images_per_s": row.images_per_s,
                        "speedup_over_eager": speedup(row, results),
                        "times_s": row.times_s,
                    }
                    for row in latency.rows
                ],
            }
            for latency in results
        ],
        "unavailable": problems,
    }


def _number(value_ms: float | None) -> str:
    if value_ms is None:
        return "—"
    return f"{value_ms:,.3g}" if value_ms < 100 else f"{value_ms:,.0f}"


def _sizes(text: str) -> list[int]:
    """Batch sizes, each once, the small ones first.

    Raises:
        UsageError: something else is written there.
    """
    try:
        sizes = sorted({int(size) for size in text.split(",")})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 1 or len(sizes) > _MOST_BATCH_SIZES:
        raise UsageError(
            f"--batch-sizes {text}: expected up to {_MOST_BATCH_SIZES} whole numbers from 1, as in 1,8,32"
        )
    return sizes


def _names(text: str) -> list[str]:
    """Backends, each once, in the order of `BACKENDS`.

    Raises:
        UsageError: there is no such backend.
    """
    asked = {name.strip() for name in text.split(",")}
    for name in sorted(asked - set(BACKENDS)):
        raise unknown_name("backend", name, BACKENDS)
    return [name for name in BACKENDS if name in asked]


if __name__ == "__main__":
    sys.exit(run_command(app, prog_name="python -m harness.latency"))
