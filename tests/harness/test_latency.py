"""The command on a model that is not trained; what is timed, and what is said where something is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

import harness.latency as latency_module
from harness.call_times import LatencyRow
from harness.console import run_command
from harness.datasets.device_loader import Normalizer
from harness.errors import HardwareError
from harness.latency import Latency, app, as_values, measure_backends, speedup
from harness.latency_backends import Backend, compiled, eager, make_batches, onnx
from harness.onnx_model import export_onnx

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.2)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small model as if it came from the folder of a run, which the command then gets."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)).eval()
    model = SimpleNamespace(
        module=module,
        normalize=Normalizer(MEAN, STD, 8, CPU),
        record=SimpleNamespace(
            cell=SimpleNamespace(model="tiny", precision="fp32", label=lambda: "digits tiny fp32")
        ),
        class_names=tuple("0123456789"),
        image_size=8,
        source_size=(8, 8),
        mean=MEAN,
        std=STD,
    )
    monkeypatch.setattr(latency_module, "load_stored_model", lambda run, device: model)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is put back
    return model


@pytest.fixture
def run(stored: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command and returns its exit code, stdout and stderr."""
    threads = torch.get_num_threads()

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["latency", "runs/x", "--cpu", "--seconds", "0.02", *arguments])
        code = run_command(app)
        said = capsys.readouterr()
        return code, said.out, said.err

    yield call
    torch.set_num_threads(threads)


def test_the_table_holds_every_backend_against_eager(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(latency_module, "compiled", _fails)
    code, out, _ = run("--batch-sizes", "8,1")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if "eager  " in line and "x" in line]
    assert [row[:3] for row in rows] == [["1", "eager", "fp32"], ["8", "eager", "fp32"]]
    assert all(row[-1] == "1.00x" for row in rows)
    assert f"on cpu, {torch.get_num_threads()} thread(s)" in out
    assert "compiled: not here: no compiler" in out


def test_json_has_the_time_of_every_call(run: Any) -> None:
    code, out, _ = run("--backends", "eager", "--batch-sizes", "1,4", "--threads", "1", "--json")
    assert code == 0
    (found,) = json.loads(out)["results"]
    assert (found["backend"], found["threads"], found["compile_time_s"]) == ("eager", 1, None)
    assert [row["batch_size"] for row in found["rows"]] == [1, 4]
    for row in found["rows"]:
        assert row["num_calls"] == len(row["times_s"]) > 0
        assert (row["p99_ms"] is None) == (row["num_calls"] < 100) == (row["p99_reason"] is not None)
        assert row["speedup_over_eager"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--backends", "eagre"), "unknown backend 'eagre': did you mean eager?"),
        (("--batch-sizes", "1,0"), "--batch-sizes 1,0: expected up to 8 whole numbers from 1"),
        (("--batch-sizes", "many"), "--batch-sizes many: expected"),
        (("--batch-sizes", "1,2,3,4,5,6,7,8,9"), "expected up to 8"),
        (("--threads", "0"), "--threads"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(run: Any, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_without_onnxruntime_the_extra_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = run("--backends", "onnx")
    assert code == 2
    assert "pip install 'verdict-bench[export]'" in err


def test_onnx_and_int8_are_exported_and_timed(run: Any) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    code, out, _ = run("--backends", "int8,eager,onnx", "--batch-sizes", "1,2", "--threads", "1", "--json")
    assert code == 0
    results = json.loads(out)["results"]
    assert [(found["backend"], found["precision"], found["threads"]) for found in results] == [
        ("eager", "fp32", 1),
        ("onnx", "fp32", 1),
        ("int8", "int8", 1),
    ]
    assert all(row["speedup_over_eager"] > 0 for found in results for row in found["rows"])


def test_onnx_gets_the_same_images_and_the_threads_asked_for(
    stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    export_onnx(stored, tmp_path / "model.onnx")
    open_session, seen = runtime.InferenceSession, SimpleNamespace()

    def open_and_watch(path: str, options: Any, providers: list[str]) -> Any:
        session = open_session(path, options, providers=providers)
        run_session, seen.threads = session.run, options.intra_op_num_threads

        def run(names: Any, given: Any) -> Any:
            (seen.images,), (seen.logits,) = given.values(), run_session(names, given)

        session.run = run
        return session

    monkeypatch.setattr(runtime, "InferenceSession", open_and_watch)
    batches = make_batches([3], (8, 8), CPU)
    backend = onnx(tmp_path / "model.onnx", batches, CPU, "onnx", "fp32")
    backend.call(3)
    assert seen.threads == backend.threads == torch.get_num_threads()
    assert torch.equal(torch.from_numpy(seen.images), batches[3])
    with torch.inference_mode():
        expected = stored.module(stored.normalize(batches[3]))
    torch.testing.assert_close(torch.from_numpy(seen.logits), expected, rtol=1e-4, atol=1e-4)


def test_eager_classifies_in_the_precision_without_gradients(stored: Any) -> None:
    seen: list[tuple[torch.dtype, bool, bool]] = []

    def note(_: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
        is_last = given[0].is_contiguous(memory_format=torch.channels_last)
        seen.append((out.dtype, torch.is_inference_mode_enabled(), is_last))

    stored.module[0].register_forward_hook(note)
    backend = eager(stored.module, stored.normalize, "bf16", make_batches([2], (8, 8), CPU), CPU)
    backend.call(2)
    assert seen == [(torch.bfloat16, True, True)]
    assert (backend.name, backend.precision, backend.device) == ("eager", "bf16", "cpu")
    assert backend.compile_time_s is None


def test_fp16_on_the_cpu_is_refused(stored: Any) -> None:
    with pytest.raises(HardwareError, match="fp16"):
        eager(stored.module, stored.normalize, "fp16", make_batches([1], (8, 8), CPU), CPU)


def _compile_with(monkeypatch: pytest.MonkeyPatch, first_call: Callable[[], None]) -> None:
    def compile_model(model: nn.Module, **_: Any) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            first_call()
            return model(*arguments)

        return call

    monkeypatch.setattr(torch, "compile", compile_model)


def test_compiling_is_timed_apart(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]

    def tick() -> None:
        now_s[0] += 20

    monkeypatch.setattr("harness.latency_backends.time.perf_counter", lambda: now_s[0])
    _compile_with(monkeypatch, tick)
    backend = compiled(stored.module, stored.normalize, "fp32", make_batches([1, 4], (8, 8), CPU), CPU)
    assert backend.compile_time_s == 40  # once for each batch size


def test_a_compiler_that_is_missing_is_a_reason(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise TorchDynamoException("no working C++ compiler\nand more")

    _compile_with(monkeypatch, fail)
    with pytest.raises(HardwareError, match=r"torch\.compile failed: no working C"):
        compiled(stored.module, stored.normalize, "fp32", make_batches([1], (8, 8), CPU), CPU)


@pytest.mark.slow
def test_a_real_compiler_compiles_for_each_batch_size(stored: Any) -> None:
    backend = compiled(stored.module, stored.normalize, "fp32", make_batches([1, 4], (8, 8), CPU), CPU)
    assert backend.compile_time_s is not None
    assert backend.compile_time_s > 0.1
    backend.call(4)


def test_backends_take_turns_within_a_batch_size() -> None:
    calls: list[tuple[str, int]] = []

    def backend(name: str) -> Backend:
        return Backend(
            name, "fp32", 1, "cpu", lambda size: calls.append((name, size)), synchronize=lambda: None
        )

    results = measure_backends([backend("eager"), backend("onnx")], [1, 2], 1e-9)
    assert calls[::2] == calls[1::2] == [("eager", 1), ("onnx", 1), ("eager", 2), ("onnx", 2)]
    assert [[row.batch_size for row in latency.rows] for latency in results] == [[1, 2], [1, 2]]


def test_a_ratio_needs_the_plain_backend_and_is_of_median_calls() -> None:
    plain = Latency("eager", "fp32", 1, "cpu", (LatencyRow(1, (0.2,)), LatencyRow(8, (0.4,))))
    other = Latency("onnx", "fp32", 1, "cpu", (LatencyRow(1, (0.1,)), LatencyRow(8, (0.8,))))
    assert [speedup(row, [plain, other]) for row in other.rows] == [2, 0.5]
    assert speedup(other.rows[0], [other]) is None
    assert as_values([other], {"int8": "why"})["unavailable"] == {"int8": "why"}


def _fails(*_: Any) -> Backend:
    raise HardwareError("no compiler")
