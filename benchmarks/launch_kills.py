"""SIGKILL at random moments while a matrix runs: is anything lost, run twice, orphaned or half written?

    python -m benchmarks.launch_kills --kills 100

A launcher runs small cells of digits, two at once. Every few seconds it, or one of the processes below it,
is killed; a launcher that was killed is started again by the same command. In the end what is left is run
undisturbed, and everything is counted. The exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from harness.errors import DataError
from harness.record import read_record
from results.store import read_predictions

CELLS_AT_ONCE = 2
SHARE_OF_LAUNCHER = 0.3
"""Of the kills."""

ORPHANS_WITHIN_S = 3.0


def main() -> None:
    """Kill, start again, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--cells", type=int, default=12, help="in the beginning; more are added as they end")
    parser.add_argument("--longest-s", type=float, default=8, help="between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="(a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = args.out or Path(folder) / "runs"
        counts = _disturb(out, args)
        counts["cells"] = _finish(out, counts["cells"])
        wrong = _check(out, counts)
    for name, count in counts.items():
        print(f"{count:5}  {name}")
    print("nothing is wrong" if not wrong else f"wrong: {', '.join(wrong)}")
    sys.exit(1 if wrong else 0)


def _disturb(out: Path, args: argparse.Namespace) -> Counter[str]:
    """Kill so many times; what was seen meanwhile."""
    draw = random.Random(args.seed)
    counts: Counter[str] = Counter(cells=args.cells)
    finished: dict[str, str] = {}
    launcher = _launch(out, counts["cells"])
    while counts["kills of a launcher"] + counts["kills of a child"] < args.kills:
        time.sleep(draw.uniform(0.5, args.longest_s))
        counts["finished cells that changed"] += _changed(out, finished)
        if launcher.poll() is not None:
            counts["cells"] += args.cells // 2
            launcher = _launch(out, counts["cells"])
            continue
        below = _below(launcher.pid)
        if not below or draw.random() < SHARE_OF_LAUNCHER:
            launcher.kill()
            launcher.wait()
            counts["kills of a launcher"] += 1
            counts["orphans"] += len(_orphans(out))
            launcher = _launch(out, counts["cells"])
        else:
            with suppress(psutil.Error):
                draw.choice(below).kill()
                counts["kills of a child"] += 1
    launcher.send_signal(signal.SIGINT)
    launcher.wait()
    counts["orphans"] += len(_orphans(out))
    counts["finished cells that changed"] += _changed(out, finished)
    return counts


def _launch(out: Path, num_cells: int) -> subprocess.Popen[bytes]:
    words = ["-m", "launch", "run", "demo", "--model", "mlp", "--augment", "none", "--epochs", "40"]
    words += ["--seed", ",".join(map(str, range(num_cells))), "--out", str(out), "--cpu"]
    words += ["--jobs", str(min(CELLS_AT_ONCE, os.cpu_count() or 1)), "--retries", "1000"]
    words += ["--checkpoint-minutes", "0.02"]
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / "launcher.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *words], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def _finish(out: Path, num_cells: int) -> int:
    """Run what is left, undisturbed."""
    code = _launch(out, num_cells).wait()
    assert code == 0, f"the last launcher ended with {code}: see {out.parent / 'launcher.txt'}"
    return num_cells


def _below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _orphans(out: Path) -> list[int]:
    """Processes that still work in the folder some time after their launcher has gone."""
    until = time.monotonic() + ORPHANS_WITHIN_S
    while time.monotonic() < until:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if str(out) in " ".join(words) and "launch_kills" not in " ".join(words):
                    found.append(process.pid)
        if not found:
            return []
        time.sleep(0.1)
    return found


def _changed(out: Path, finished: dict[str, str]) -> int:
    """How many finished cells are not what they were; remembers those that are new."""
    changed = 0
    for path in out.glob("*/record.json"):
        text = path.read_bytes()
        if json.loads(text)["status"] == "finished":
            found = hashlib.sha256(text).hexdigest()
            changed += finished.setdefault(path.parent.name, found) != found
    changed += sum(not (out / name / "record.json").exists() for name in finished)
    return changed


def _check(out: Path, counts: Counter[str]) -> list[str]:
    """Count what is there in the end; what is wrong."""
    for run_dir in (path for path in out.iterdir() if (path / "cell.json").exists()):
        try:
            record = read_record(run_dir)
            assert record is not None
            if record.status == "finished":
                counts["finished"] += 1
                read_predictions(run_dir, record)
                np.load(run_dir / "steps.npz")["loss"]
        except (DataError, AssertionError, OSError, ValueError):
            counts["half files"] += 1
        counts["leftovers of writing"] += len(list(run_dir.glob(".*.tmp")))
    counts["lines in results.csv"] = len((out / "results.csv").read_text().splitlines()) - 1
    expected = {
        "orphans": 0,
        "half files": 0,
        "finished cells that changed": 0,
        "finished": counts["cells"],
        "lines in results.csv": counts["cells"],
    }
    for name in expected:
        counts.setdefault(name, 0)
    return [name for name, count in expected.items() if counts[name] != count]


if __name__ == "__main__":
    main()
