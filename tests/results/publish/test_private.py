from __future__ import annotations

import pytest

from results.publish.private import Private

PRIVATE = Private(("build-17.example.com", "node2"), "two-cores")


def cleaned(text: str) -> object:
    return PRIVATE.removed({"command": text})["command"]


@pytest.mark.parametrize(
    ("text", "public"),
    [
        (
            "harness/run.py --data-dir /home/ann/data/fold --epochs 4",
            "harness/run.py --data-dir fold --epochs 4",
        ),
        ("--out=/srv/x/runs", "--out=runs"),
        ("'/home/ann/my/photos'", "'photos'"),
        (r"C:\Users\ann\data", "data"),
        ("~/secret/data", "data"),
        ("/home/ann/data/: missing", "data/: missing"),
        ("build-17.example.com cpu", "two-cores cpu"),
        ("lost NODE2.", "lost two-cores."),
        ("[node2.internal.example]:29500", "[two-cores]:29500"),
        ("error:/home/ann/x.py:3", "error:x.py:3"),
        ("PYTHONPATH=/a/b:/home/ann/lib", "PYTHONPATH=b:lib"),
        ("file:///home/ann/x", "x"),
        ("~ann/data/x", "x"),
        ("/dev/shm/ann/x", "x"),
        ("--data-dir /home/ann", "--data-dir HOME"),
    ],
)
def test_paths_and_the_name_of_the_machine_are_removed(text: str, public: str) -> None:
    assert cleaned(text) == public


@pytest.mark.parametrize(
    "text",
    [
        "harness/run.py --augment flip+crop",
        "https://example.org/a/b/c.tar.gz",
        "images/s and/or MiB",
        "no RAPL: there is no processor package in /sys/class/powercap",
        "1 / 2 of data/fold",
        "build-17.example.community",
        "2>/dev/null",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert cleaned(text) == text


def test_values_within_values_are_reached_and_the_cell_is_left_alone() -> None:
    record = {
        "cell": {"dataset": "imagefolder:/home/ann/photos"},
        "cell_id": "0123456789ab",
        "environment": {"hostname": "build-17.example.com", "num_processes": 2},
        "in_effect": {"devices": ["build-17.example.com cpu"], "wrapper": None},
    }
    assert PRIVATE.removed(record) == {
        "cell": {"dataset": "imagefolder:/home/ann/photos"},
        "cell_id": "0123456789ab",
        "environment": {"hostname": "two-cores", "num_processes": 2},
        "in_effect": {"devices": ["two-cores cpu"], "wrapper": None},
    }


def test_a_machine_may_be_called_anything() -> None:
    assert Private(("node1",), r"two\qcores\1").removed({"x": "node1"}) == {"x": r"two\qcores\1"}


def test_without_a_hostname_only_paths_are_removed() -> None:
    assert Private((), "two-cores").removed({"log_tail": "at /home/ann/x.py"}) == {"log_tail": "at x.py"}
