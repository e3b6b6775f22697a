from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import host_memory

ROOT = Path(__file__).parents[2]
BLOCK_MIB, NUM_BLOCKS = 64, 5
PAGES_PER_BLOCK = BLOCK_MIB * 2**20 // 4096

FAULTS = f"""
import resource
from harness.host_memory import keep_freed_memory

if {{keep}} and not keep_freed_memory():
    raise SystemExit("no mallopt here")
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"x" * ({BLOCK_MIB} << 20)  # the heap grows once
before = faults()
for _ in range({NUM_BLOCKS}):
    b"x" * ({BLOCK_MIB} << 20)
print(faults() - before)
"""

PEAK = """
import numpy as np
import torch
from harness.host_memory import keep_freed_memory
from harness.memory import read_peak, reset_peak

cpu = torch.device("cpu")
if not (keep_freed_memory() and reset_peak(cpu)):
    raise SystemExit("no mallopt or no peak here")
before = read_peak(cpu, True).resident_mib
np.ones(300 << 20, np.uint8)
during = read_peak(cpu, True).resident_mib
reset_peak(cpu)
print(round(during - before), round(read_peak(cpu, True).resident_mib - before))
"""

STEPS = """
import torch
from harness.host_memory import give_back_freed_memory
from harness.memory import read_peak, reset_peak

cpu = torch.device("cpu")
if not (give_back_freed_memory() and reset_peak(cpu)):
    raise SystemExit("no mallopt or no peak here")
before = read_peak(cpu, True).resident_mib
for _ in range(10):  # glibc 2.36 comes to three times as much where all is kept
    blocks = [torch.ones((7 << 20) + 1024 * index) for index in range(4)]
    del blocks
during = read_peak(cpu, True).resident_mib
reset_peak(cpu)
print(round(during - before), round(read_peak(cpu, True).resident_mib - before))
"""


def figures_of(code: str) -> list[int]:
    """What a process of its own prints: the setting would stay in this one."""
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if child.stderr.rstrip().endswith(" here"):
        pytest.skip(child.stderr.rstrip())
    assert child.returncode == 0, child.stderr
    return [int(figure) for figure in child.stdout.split()]


def test_memory_that_is_kept_is_allocated_again_without_page_faults() -> None:
    (kept,) = figures_of(FAULTS.format(keep=True))
    (given_back,) = figures_of(FAULTS.format(keep=False))
    assert kept < PAGES_PER_BLOCK / 100
    assert given_back > 10 * kept  # huge pages can make few faults of many pages
    assert given_back >= NUM_BLOCKS


def test_memory_that_is_kept_does_not_count_for_the_peak_of_the_next_cell() -> None:
    during, after = figures_of(PEAK)
    assert during == pytest.approx(300, abs=30)
    assert after < 100


def test_where_memory_is_given_back_the_peak_is_what_was_in_use() -> None:
    during, after = figures_of(STEPS)
    assert during == pytest.approx(4 * 28, abs=20)
    assert after < 20


def test_a_c_library_without_the_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "_LIBC", object())
    assert not host_memory.keep_freed_memory()
    assert not host_memory.give_back_freed_memory()
