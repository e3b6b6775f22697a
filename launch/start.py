"""Become an attempt's process, tied to the launcher: `python launch/start.py --cpus 0,1 -- COMMAND...`.

Between fork and exec, in a process of its own because the launcher has threads: end when the launcher
ends, compute on the given cores only, allocate no more than the given memory.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from harness.tether import SWITCH, die_with_parent


def main() -> None:
    """Tie this process, then replace it by the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", help="numbers of the cores, with commas (all)")
    parser.add_argument("--max-bytes", type=int, help="memory that each process may allocate (no limit)")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    die_with_parent(int(os.environ[SWITCH]) if SWITCH in os.environ else None)
    if args.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(cpu) for cpu in args.cpus.split(",")})
    if args.max_bytes:
        import resource

        # what is written to, unlike the address space, of which CUDA reserves much more than it uses
        resource.setrlimit(resource.RLIMIT_DATA, (args.max_bytes, args.max_bytes))
    os.execvp(args.command[0], args.command)  # no shell is wanted


if __name__ == "__main__":
    main()
