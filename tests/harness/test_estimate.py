from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
import torch

from harness.estimate import main


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks the given requests in this process and returns the replies after the first line."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is put back
    threads = torch.get_num_threads()

    def ask(*requests: dict[str, Any]) -> list[dict[str, Any]]:
        replies = io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(line) + "\n" for line in requests)))
        monkeypatch.setattr(sys, "stdout", replies)
        main()
        ready, *lines = [json.loads(line) for line in replies.getvalue().splitlines()]
        assert ready == {"ready": True}
        return lines

    yield ask
    torch.set_num_threads(threads)


def test_a_precision_that_the_machine_does_not_have_is_a_problem_and_not_an_end(answers: Any) -> None:
    machine = {"cpu": True, "threads": 1, "precisions": ["fp32", "fp16"]}
    (reply,) = answers({"key": "m", "machine": machine})
    assert (reply["key"], reply["device_type"], reply["threads"]) == ("m", "cpu", 1)
    assert reply["peak_flop_per_s"]["fp32"] > 1e8
    assert reply["peak_flop_per_s"]["fp16"] is None
    assert reply["problems"].keys() == {"fp16"}


def test_what_cannot_be_counted_is_a_problem_of_its_own_line(answers: Any) -> None:
    (reply,) = answers({"key": "a", "cell": {"model": "no_such_model"}, "num_classes": 10, "num_fit": 9})
    assert reply.keys() == {"key", "problem"}
