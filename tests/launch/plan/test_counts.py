from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cell import CellSpec
from launch.plan import counts as counts_module
from launch.plan.counts import CACHE_NAME, Compute, Counts
from launch.plan.facts import count_key
from tests.launch.plan.run_folders import digits_cell

NUM_FIT = 1294


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERDICT_CACHE", str(tmp_path))
    return tmp_path / CACHE_NAME


def asked(*cells: CellSpec) -> dict[str, tuple[CellSpec, int, int]]:
    return {count_key(cell, 10, NUM_FIT): (cell, 10, NUM_FIT) for cell in cells}


def test_a_child_counts_and_measures_once_for_all_commands(cache: Path) -> None:
    """The counts are those of a record; what cannot be built says why, and harms no other."""
    good, bad = digits_cell("mlp"), digits_cell("timm:no_such_model")
    said: list[str] = []
    counts = Counts(use_cpu=True, threads=1, say=said.append)
    counts.ask(asked(good, bad), {"fp32"})

    key = count_key(good, 10, NUM_FIT)
    # two hidden layers on 3 x 32 x 32 pixels; the gradient of the pixels is not computed
    found = counts.get(key)
    assert found is not None
    assert found.forward_flops_per_image < found.train_flops_per_image < 3 * found.forward_flops_per_image
    assert found.total_train_flops == 6 * (NUM_FIT // 64) * 64 * found.train_flops_per_image
    assert counts.get(count_key(bad, 10, NUM_FIT)) is None
    assert "no_such_model" in counts.problem(count_key(bad, 10, NUM_FIT))
    speed = counts.speed()
    assert speed.start_s is not None
    assert speed.start_s > 0.1
    peak = speed.peak_flop_per_s["fp32"]
    assert peak is not None
    assert peak > 1e9
    assert said == ["measuring this machine and counting the compute of 2 model(s), once"]

    again = Counts(use_cpu=True, threads=1, may_ask=False)
    assert (again.get(key), again.speed()) == (found, speed)
    assert again.speed().threads == 1


def test_nothing_is_asked_where_all_is_known_or_the_user_says_no(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts_module, "_ask_child", _must_not_be_called)
    counts = Counts(may_ask=False)
    key = count_key(digits_cell(), 10, NUM_FIT)
    counts.ask(asked(digits_cell()), {"fp32"})
    assert counts.get(key) is None
    assert "as --no-estimate says" in counts.problem(key)
    fill(cache, key)
    counts = Counts(use_cpu=True)
    counts.ask(asked(digits_cell()), {"fp32"})
    assert counts.get(key) == Compute(1, 3, 9)


def test_counts_of_other_code_are_forgotten_and_the_machine_is_not(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = count_key(digits_cell(), 10, NUM_FIT)
    fill(cache, key)
    monkeypatch.setattr(counts_module, "_code_version", lambda: "another")
    counts = Counts(use_cpu=True, may_ask=False)
    assert counts.get(key) is None
    assert counts.speed().start_s == 2.5


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"counts": {"a": 5}, "machines": {}}', "\x00"])
def test_a_damaged_cache_is_empty(cache: Path, content: str) -> None:
    cache.write_text(content, encoding="utf-8")
    assert Counts(may_ask=False).speed().start_s is None


def test_a_child_that_dies_gives_the_reason_for_what_it_did_not_count(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").touch()
    script = "import sys; print('out of luck', file=sys.stderr); sys.exit(3)"
    (tmp_path / "harness" / "estimate.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr(counts_module, "ROOT", tmp_path)
    monkeypatch.setattr(counts_module, "_code_version", lambda: "any")
    key = count_key(digits_cell(), 10, NUM_FIT)
    counts = Counts(use_cpu=True)
    counts.ask(asked(digits_cell()), {"fp32"})
    assert counts.problem(key) == "counting ended with exit code 3: out of luck"
    assert (counts.get(key), counts.speed().start_s) == (None, None)


def test_a_child_that_takes_too_long_is_ended(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").touch()
    script = "import time; print('{\"ready\": true}', flush=True); time.sleep(60)"
    (tmp_path / "harness" / "estimate.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr(counts_module, "ROOT", tmp_path)
    monkeypatch.setattr(counts_module, "_code_version", lambda: "any")
    monkeypatch.setattr(counts_module, "CHILD_TIMEOUT_S", 1.0)
    key = count_key(digits_cell(), 10, NUM_FIT)
    counts = Counts(use_cpu=True)
    counts.ask(asked(digits_cell()), {"fp32"})
    assert "took more than 1 s" in counts.problem(key)


def fill(path: Path, key: str) -> None:
    """A cache that knows this machine and one count."""
    import socket

    machine = {"device": "x", "threads": 2, "start_s": 2.5, "peak_flop_per_s": {"fp32": 1e9}}
    count = {"forward_flops_per_image": 1, "train_flops_per_image": 3, "total_train_flops": 9}
    content = {
        "code": counts_module._code_version(),
        "counts": {key: count},
        "machines": {f"{socket.gethostname()} cpu all": machine},
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def _must_not_be_called(requests: list[object]) -> None:
    raise AssertionError(f"asked for {requests}")
