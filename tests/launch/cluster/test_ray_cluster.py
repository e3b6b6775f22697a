"""The Ray executor against a real Ray of two nodes, started here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.errors import HardwareError, UsageError
from harness.settings import Settings
from launch.job import Ended, Job
from launch.local import Limits
from tests.launch.cluster.cluster_matrix import run_matrix_with_a_kill
from tests.launch.jobs import make_job

pytest.importorskip("ray", reason="needs Ray: pip install 'verdict-bench[ray]'")

from launch.cluster.ray_cluster import RayExecutor, RayOptions  # what it needs is there

Command = Callable[[Job, Settings], list[str]]
Scripted = Callable[[str], Command]
Make = Callable[..., RayExecutor]

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 2, "include_dashboard": False}
        found: Any = Cluster(initialize_head=True, head_node_args=head)
        yield found
        found.shutdown()


@pytest.fixture
def make(cluster: Any, settings: Settings) -> Iterator[Make]:
    """Makes the executor of a test, which is closed after it."""
    made: list[RayExecutor] = []

    def make_executor(command: Command | None = None, **options: Any) -> RayExecutor:
        more = {} if command is None else {"command_of": command}
        executor = RayExecutor(RayOptions(cluster.address, **options), settings, Limits(), **more)
        made.append(executor)
        return executor

    yield make_executor
    for executor in made:
        executor.close()


def ends(executor: RayExecutor, count: int = 1, within_s: float = 60) -> list[Ended]:
    found: list[Ended] = []
    until = time.monotonic() + within_s
    while len(found) < count:
        assert time.monotonic() < until, found
        found += executor.poll()
        time.sleep(0.1)
    return found


def wait_until(condition: Callable[[], bool], within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


WAITING = """
def save(number, frame):
    (run_dir / 'checkpoint').touch()
    say('{"kind": "interrupted", "message": "saved"}')
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
(run_dir / 'pid').write_text(str(os.getpid()))
while True:
    time.sleep(0.05)
"""


@pytest.mark.slow
def test_each_cell_says_how_it_ended_and_no_more_run_than_there_are_cpus(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    lines = (
        "seed = json.loads((run_dir / 'cell.json').read_text())['seed']\n"
        'if seed == 0: say(\'{"kind": "data", "message": "no such images"}\'); sys.exit(2)\n'
        "sys.exit(3)\n"
    )
    executor = make(scripted(lines))
    assert executor.at_once() == 2
    jobs = [make_job(tmp_path, seed=seed) for seed in range(3)]
    for job in jobs[:2]:
        assert executor.has_room(job)
        executor.start(job)
    assert not executor.has_room(jobs[2])
    found = {ended.job: ended for ended in ends(executor, 2)}
    assert [found[job].kind for job in jobs[:2]] == ["data", "crashed"]
    assert found[jobs[0]].message == "no such images"
    assert executor.has_room(jobs[2])
    assert executor.running() == []


def test_a_worker_that_is_killed_takes_the_training_with_it(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    lines = (
        "(run_dir / 'pid').write_text(str(os.getpid()))\n"
        "os.kill(int(os.environ['VERDICT_PARENT_PID']), signal.SIGKILL)\n"
        "time.sleep(60)\n"
    )
    executor = make(scripted(lines))
    job = make_job(tmp_path)
    executor.start(job)
    (ended,) = ends(executor)
    assert ended.kind == "killed"
    assert ended.message.endswith("its Ray worker or node died")
    wait_until(lambda: is_gone(int((job.run_dir / "pid").read_text())))


def test_a_node_that_is_lost_counts_as_killed(
    make: Make, cluster: Any, scripted: Scripted, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=3)
    executor = make(scripted("(run_dir / 'begun').touch(); time.sleep(600)"), cpus_per_cell=3)
    job = make_job(tmp_path)
    assert executor.has_room(job)
    executor.start(job)
    wait_until((job.run_dir / "begun").exists)
    cluster.remove_node(node, allow_graceful=False)
    (ended,) = ends(executor)
    assert ended.kind == "killed"


@pytest.mark.slow
def test_asked_to_stop_a_cell_saves_and_one_that_waits_is_withdrawn(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    executor = make(scripted(WAITING), cpus_per_cell=2)
    jobs = [make_job(tmp_path, seed=seed) for seed in range(2)]
    for job in jobs:
        executor.start(job)
    wait_until(lambda: any((job.run_dir / "pid").exists() for job in jobs))
    executor.stop(hard=False)
    assert {ended.kind for ended in ends(executor, 2)} == {"interrupted"}
    assert sum((job.run_dir / "checkpoint").exists() for job in jobs) == 1
    assert sum((job.run_dir / "pid").exists() for job in jobs) == 1


@pytest.mark.slow
def test_killing_a_cell_ends_it_at_once(make: Make, scripted: Scripted, tmp_path: Path) -> None:
    executor = make(scripted(WAITING))
    job = make_job(tmp_path)
    executor.start(job)
    wait_until((job.run_dir / "pid").exists)
    executor.stop(hard=True, job=job)
    (ended,) = ends(executor)
    assert ended.kind == "interrupted"
    assert not (job.run_dir / "checkpoint").exists()
    wait_until(lambda: is_gone(int((job.run_dir / "pid").read_text())))


@pytest.mark.slow
def test_no_training_survives_a_launcher_that_is_killed(cluster: Any, tmp_path: Path) -> None:
    script = tmp_path / "launcher.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from harness.settings import Settings\n"
        "from launch.local import Limits\n"
        "from launch.cluster.ray_cluster import RayExecutor, RayOptions\n"
        "from tests.launch.jobs import make_job\n"
        "out = Path(sys.argv[2])\n"
        'line = f\'import os, time; open("{out}/pid", "w").write(str(os.getpid())); time.sleep(600)\'\n'
        "command = lambda job, settings: [sys.executable, '-c', line]\n"
        "executor = RayExecutor(RayOptions(sys.argv[1]), Settings(out, cpu=True), Limits(), command)\n"
        "executor.start(make_job(out))\n"
        "time.sleep(600)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    launcher = subprocess.Popen(
        [sys.executable, str(script), cluster.address, str(tmp_path)], env=environment
    )
    try:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    finally:
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())))


def test_a_node_that_does_not_share_the_runs_is_named(make: Make, cluster: Any, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts a file system, which needs root")
    words = f"mount -t tmpfs none {tmp_path} && exec {sys.executable} -m ray.scripts.scripts start"
    words += f" --address={cluster.address} --num-cpus=1 --block"
    printed = tmp_path.parent / "node.txt"
    with printed.open("wb") as output:
        node = subprocess.Popen(["unshare", "--mount", "sh", "-c", words], stdout=output, stderr=output)
    try:
        wait_until(lambda: "Ray runtime started" in printed.read_text())
        with pytest.raises(HardwareError, match=r"does not share .* with this machine: choose an --out"):
            make()
    finally:
        node.terminate()
        node.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_no_node_is_large_enough_for_is_refused(make: Make, tmp_path: Path) -> None:
    executor = make(gpus_per_cell=1)
    with pytest.raises(HardwareError, match=r"1 CPU\(s\) and 1 GPU\(s\), and no node of the Ray cluster"):
        executor.has_room(make_job(tmp_path))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="--cpus-per-cell 0: expected 1 or more"):
        RayOptions(cpus_per_cell=0)


@pytest.mark.timeout(60)
def test_without_ray_or_a_cluster_one_line_says_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HardwareError, match=r"--address 127.0.0.1:1: no Ray cluster answers"):
        RayExecutor(RayOptions("127.0.0.1:1"), settings, Limits())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HardwareError, match=r"pip install 'verdict-bench\[ray\]'"):
        RayExecutor(RayOptions(), settings, Limits())


@pytest.mark.slow
def test_a_matrix_of_real_cells_finishes_although_one_is_killed(make: Make, tmp_path: Path) -> None:
    summary = run_matrix_with_a_kill(tmp_path, make())
    assert (len(summary.finished), summary.failed) == (3, {})
