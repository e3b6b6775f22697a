"""The Slurm executor against a real Slurm of two nodes, started here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.errors import HardwareError, UsageError
from harness.live import read_live
from harness.record import read_record
from harness.settings import Settings
from launch.job import Ended, Job
from launch.local import Limits
from tests.launch.cluster.cluster_matrix import run_matrix_with_a_kill
from tests.launch.cluster.slurm_cluster import missing, slurm_cluster
from tests.launch.jobs import make_job

pytest.importorskip("submitit", reason="needs submitit: pip install 'verdict-bench[slurm]'")
WHY_NOT = missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")

from launch.cluster import slurm  # noqa: E402  # what it needs is there
from launch.cluster.slurm import SlurmExecutor  # noqa: E402
from launch.cluster.slurm_options import SlurmOptions  # noqa: E402
from launch.cluster.slurm_ticket import read_ticket, write_ticket  # noqa: E402

Command = Callable[[Job, Settings], list[str]]
Scripted = Callable[[str], Command]
Make = Callable[..., SlurmExecutor]

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("slurm")
    with slurm_cluster(folder) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def make(cluster: None, settings: Settings) -> Iterator[Make]:
    """Makes executors; their jobs are cancelled after the test."""
    made: list[SlurmExecutor] = []

    def make_executor(command: Command | None = None, **options: object) -> SlurmExecutor:
        more = {} if command is None else {"command_of": command}
        values = {"memory_gb": 1.0} | options
        executor = SlurmExecutor(SlurmOptions(**values), settings, Limits(), poll_every_s=0.3, **more)  # type: ignore[arg-type]
        made.append(executor)
        return executor

    yield make_executor
    scancel = ["scancel", "--user=root"]
    subprocess.run(scancel, check=True, timeout=30)
    until = time.monotonic() + 60
    while squeue("--noheader"):
        assert time.monotonic() < until, squeue()
        time.sleep(0.2)


def squeue(*options: str) -> str:
    words = ["squeue", *options]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def start_all(executor: SlurmExecutor, out: Path, count: int = 1) -> list[Job]:
    jobs = [make_job(out, seed=seed) for seed in range(count)]
    for job in jobs:
        assert executor.has_room(job)
        executor.start(job)
    return jobs


def ends(executor: SlurmExecutor, count: int = 1, within_s: float = 60) -> list[Ended]:
    found: list[Ended] = []
    until = time.monotonic() + within_s
    while len(found) < count:
        assert time.monotonic() < until, f"{squeue('--states=all')}\n{found}"
        found += executor.poll()
        time.sleep(0.1)
    return found


def wait_for(path: Path, executor: SlurmExecutor | None = None, within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while not path.exists():
        assert time.monotonic() < until, squeue("--states=all")
        if executor is not None:
            assert executor.poll() == []
        time.sleep(0.1)


WAITING = """
def save(number, frame):
    (run_dir / 'checkpoint').write_text('saved')
    say('{"kind": "interrupted", "message": "saved"}')
    sys.exit(130)
if (run_dir / 'checkpoint').exists():
    print('goes on from', (run_dir / 'checkpoint').read_text(), flush=True)
    say('{"kind": "paused", "message": "after a restart"}')
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
with (run_dir / 'begun').open('a') as file:
    file.write(f'{os.getpid()}\\n')
while True:
    time.sleep(0.05)
"""
"""Works until it is asked to save and stop; goes on to the end the next time."""


def test_cells_that_wait_are_one_array_and_each_says_how_it_ended(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    lines = (
        "seed = json.loads((run_dir / 'cell.json').read_text())['seed']\n"
        'if seed == 0: say(\'{"kind": "data", "message": "no such images"}\'); sys.exit(2)\n'
        "if seed == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(3)\n"
    )
    executor = make(scripted(lines))
    jobs = start_all(executor, tmp_path, 3)
    found = {ended.job: ended for ended in ends(executor, 3)}
    assert [found[job].kind for job in jobs] == ["data", "killed", "crashed"]
    assert [found[job].message for job in jobs][:2] == ["no such images", "killed by SIGKILL"]
    assert all(ended.seconds > 0 for ended in found.values())
    tickets = [read_ticket(job.run_dir) for job in jobs]
    assert all(ticket is not None for ticket in tickets)
    ids = [str(ticket.job_id).split("_") for ticket in tickets if ticket is not None]
    assert [index for _, index in ids] == ["0", "1", "2"]
    assert len({number for number, _ in ids}) == 1
    assert executor.running() == []


def test_no_more_cells_than_asked_run_at_once(make: Make, scripted: Scripted, tmp_path: Path) -> None:
    lines = "print(time.time(), flush=True); time.sleep(1); print(time.time())\n"
    executor = make(scripted(lines), array_parallelism=1)
    jobs = start_all(executor, tmp_path, 2)
    ends(executor, 2)
    spans = sorted([float(line) for line in (job.run_dir / "output.txt").read_text().split()] for job in jobs)
    assert spans[0][1] < spans[1][0]


def test_a_task_that_is_killed_takes_the_training_with_it(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    lines = (
        "(run_dir / 'pid').write_text(str(os.getpid()))\n"
        "os.kill(int(os.environ['VERDICT_PARENT_PID']), signal.SIGKILL)\n"
        "time.sleep(60)\n"
    )
    executor = make(scripted(lines))
    (job,) = start_all(executor, tmp_path)
    (ended,) = ends(executor)
    assert ended.kind == "killed"
    assert "ended as FAILED, without a word: see" in ended.message
    pid = int((job.run_dir / "pid").read_text())
    until = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_asked_to_stop_a_cell_saves_and_one_that_waits_is_withdrawn(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    executor = make(scripted(WAITING), array_parallelism=1)
    jobs = start_all(executor, tmp_path, 2)
    wait_for(jobs[0].run_dir / "begun", executor)
    executor.stop(hard=False)
    found = {ended.job: ended for ended in ends(executor, 2)}
    assert {ended.kind for ended in found.values()} == {"interrupted"}
    assert (jobs[0].run_dir / "checkpoint").exists()
    assert not (jobs[1].run_dir / "begun").exists()
    assert squeue("--noheader") == ""


def test_killing_a_cell_cancels_its_job(make: Make, scripted: Scripted, tmp_path: Path) -> None:
    executor = make(scripted("(run_dir / 'begun').touch(); time.sleep(600)"))
    jobs = start_all(executor, tmp_path, 2)
    for job in jobs:
        wait_for(job.run_dir / "begun", executor)
    executor.stop(hard=True, job=jobs[1])
    (ended,) = ends(executor)
    assert (ended.job, ended.kind) == (jobs[1], "interrupted")
    assert executor.running() == [jobs[0]]
    assert " on node" in executor.place(jobs[0])


def test_what_others_cancel_counts_as_killed(make: Make, scripted: Scripted, tmp_path: Path) -> None:
    executor = make(scripted(WAITING))
    (job,) = start_all(executor, tmp_path)
    wait_for(job.run_dir / "begun", executor)
    subprocess.run(["scancel", "--user=root"], check=True, timeout=30)
    (ended,) = ends(executor)
    assert ended.kind == "killed"
    assert ended.message.endswith("was cancelled, not by this launcher")
    assert (job.run_dir / "checkpoint").exists()


def test_before_its_time_is_over_a_job_saves_and_is_requeued(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    executor = make(scripted(WAITING))
    (job,) = start_all(executor, tmp_path)
    wait_for(job.run_dir / "begun", executor)
    job_id = executor.place(job).split()[2]
    subprocess.run(["scancel", "--signal=USR2", job_id], check=True, timeout=30)
    begin_now(job_id)
    (ended,) = ends(executor)
    assert (ended.kind, ended.message) == ("paused", "after a restart")
    assert "goes on from saved" in (job.run_dir / "output.txt").read_text()
    assert "Restarts=1" in show(job_id)


def test_a_cell_that_was_requeued_as_often_as_allowed_is_timed_out(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    executor = make(scripted(WAITING), time_minutes=1, max_requeues=0)
    (job,) = start_all(executor, tmp_path)
    wait_for(job.run_dir / "begun", executor)
    job_id = executor.place(job).split()[2]
    subprocess.run(["scancel", "--signal=USR2", job_id], check=True, timeout=30)
    (ended,) = ends(executor)
    assert ended.kind == "timed_out"
    assert "not requeued" in ended.message
    assert (job.run_dir / "checkpoint").exists()


def test_a_job_that_gives_way_to_a_more_urgent_one_goes_on_afterwards(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    executor = make(scripted(WAITING))
    (job,) = start_all(executor, tmp_path)
    wait_for(job.run_dir / "begun", executor)
    job_id = executor.place(job).split()[2]
    urgent = ["srun", "--partition=urgent", "--nodes=2", "--ntasks=2", "--exclusive", "sleep", "0.1"]
    subprocess.run(urgent, check=True, timeout=60)
    begin_now(job_id)
    (ended,) = ends(executor)
    assert (ended.kind, ended.message) == ("paused", "after a restart")
    assert "Restarts=1" in show(job_id)


def test_stopped_by_sigterm_a_job_leaves_it_to_slurm_whether_it_is_requeued(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    executor = make(scripted(WAITING))
    (job,) = start_all(executor, tmp_path)
    wait_for(job.run_dir / "begun", executor)
    job_id = executor.place(job).split()[2]
    subprocess.run(["scancel", "--signal=TERM", job_id], check=True, timeout=30)
    wait_for(job.run_dir / "checkpoint", executor)
    time.sleep(1)
    assert executor.poll() == []
    subprocess.run(["scontrol", "requeue", job_id], check=True, timeout=30)
    begin_now(job_id)
    (ended,) = ends(executor)
    assert (ended.kind, ended.message) == ("paused", "after a restart")


def show(job_id: str) -> str:
    words = ["scontrol", "show", "job", job_id]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout


def begin_now(job_id: str) -> None:
    """Slurm lets a requeued job wait for two minutes; a node takes it two seconds after it had to leave."""
    until = time.monotonic() + 60
    while "Restarts=1" not in show(job_id) or "JobState=PENDING" not in show(job_id):
        assert time.monotonic() < until, show(job_id)
        time.sleep(0.2)
    time.sleep(2)
    subprocess.run(["scontrol", "update", f"JobId={job_id}", "StartTime=now"], check=True, timeout=30)


def test_the_next_launcher_waits_for_the_jobs_of_one_that_was_killed(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    killed = make(scripted(WAITING))
    jobs = start_all(killed, tmp_path, 2)
    for job in jobs:
        wait_for(job.run_dir / "begun", killed)
    ticket = read_ticket(jobs[1].run_dir)
    assert ticket is not None
    write_ticket(jobs[1].run_dir, replace(ticket, job_id=None))  # killed just after sbatch

    second = make(scripted(WAITING))
    start_all(second, tmp_path, 2)
    assert second.poll() == []
    assert [second.place(job).split()[2] for job in jobs] == [killed.place(job).split()[2] for job in jobs]

    killed.stop(hard=True)  # it was only asleep, and finds that its claims are lost
    assert {ended.kind for ended in ends(killed, 2)} == {"taken"}
    second.stop(hard=False)
    assert {ended.kind for ended in ends(second, 2)} == {"interrupted"}
    assert [(job.run_dir / "begun").read_text().count("\n") for job in jobs] == [1, 1]


def test_a_job_that_would_stop_at_another_epoch_is_ended_first(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    killed = make(scripted(WAITING))
    (job,) = start_all(killed, tmp_path)
    wait_for(job.run_dir / "begun", killed)
    second = make(scripted(WAITING))
    longer = replace(job, until_epoch=4)
    second.start(longer)
    (ended,) = ends(second)
    assert (ended.job, ended.kind) == (longer, "interrupted")
    second.start(longer)
    (ended,) = ends(second)
    assert (ended.job, ended.kind) == (longer, "paused")


def test_a_cell_whose_job_is_over_gets_another(make: Make, scripted: Scripted, tmp_path: Path) -> None:
    for _ in range(2):
        executor = make(scripted("(run_dir / 'begun').open('a').write('x'); sys.exit(3)"))
        start_all(executor, tmp_path)
        (ended,) = ends(executor)
        assert ended.kind == "crashed"
    assert (ended.job.run_dir / "begun").read_text() == "xx"


def test_each_node_of_a_cell_knows_its_rank_and_where_to_meet(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    words = ["--num_machines", "1", "--num_processes", "2", "--main_process_port", "0"]
    script = scripted("print(sys.argv[1:], os.environ.get('SLURM_NODEID'), flush=True)\n")
    executor = make(lambda job, settings: [*script(job, settings), *words], nodes_per_cell=2, cpus_per_cell=2)
    jobs = [make_job(tmp_path, seed=seed, num_processes=2, strategy="ddp") for seed in range(2)]
    for job in jobs:
        executor.start(job)
    ends(executor, 2)
    ports = set()
    for job in jobs:
        outputs = [(job.run_dir / name).read_text() for name in ("output.txt", "output-node1.txt")]
        port = outputs[0].split("'")[-2]
        ports.add(port)
        for rank, output in enumerate(outputs):
            meeting = ["--machine_rank", str(rank), "--main_process_ip", "127.0.0.1", "--num_machines", "2"]
            found = [*meeting, "--num_processes", "2", "--main_process_port", port]
            assert output == f"{found} None\n"
    assert len(ports) == 2


def test_processes_that_cannot_be_divided_among_the_nodes_are_refused(make: Make, tmp_path: Path) -> None:
    executor = make(nodes_per_cell=2)
    with pytest.raises(UsageError, match=r"cell of 1 process\(es\) cannot be divided among 2 nodes"):
        executor.start(make_job(tmp_path))


def test_what_slurm_refuses_is_one_clear_line(make: Make, tmp_path: Path) -> None:
    executor = make(partition="nowhere")
    start_all(executor, tmp_path)
    with pytest.raises(UsageError, match=r"Slurm refuses the jobs: .*invalid partition specified: nowhere"):
        executor.poll()


def test_runs_that_a_node_does_not_see_are_a_matter_of_hardware(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    executor = make(scripted("time.sleep(1)"), array_parallelism=1)
    jobs = start_all(executor, tmp_path, 2)
    assert executor.poll() == []
    (jobs[1].run_dir / "cell.json").unlink()
    found = {ended.job: ended for ended in ends(executor, 2)}
    assert found[jobs[1]].kind == "hardware"
    assert "choose an --out that all nodes see" in found[jobs[1]].message


def test_a_slurm_that_does_not_answer_is_waited_for_but_not_for_ever(
    make: Make, scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = make(scripted(WAITING))
    start_all(executor, tmp_path)
    executor.poll()
    (tmp_path / "bin").mkdir()
    silent = tmp_path / "bin" / "squeue"
    silent.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    silent.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{silent.parent}:{os.environ['PATH']}")
        time.sleep(0.4)
        assert executor.poll() == []
        patch.setattr(slurm, "SILENT_FOR_S", 0.0)
        time.sleep(0.4)
        with pytest.raises(HardwareError, match=r"Unable to contact slurm controller.*jobs live on"):
            executor.poll()


def test_without_submitit_or_slurm_one_line_says_what_to_do(
    cluster: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        with pytest.raises(HardwareError, match=r"pip install 'verdict-bench\[slurm\]'"):
            SlurmExecutor(SlurmOptions(), settings, Limits())
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        with pytest.raises(HardwareError, match="there is no sbatch here"):
            SlurmExecutor(SlurmOptions(), settings, Limits())


@pytest.mark.slow
def test_a_matrix_of_real_cells_finishes_although_one_is_killed(make: Make, tmp_path: Path) -> None:
    summary = run_matrix_with_a_kill(tmp_path, make(None, memory_gb=2.0))
    assert (len(summary.finished), summary.failed) == (3, {})


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_requeued_training_goes_on_from_its_checkpoint(make: Make, tmp_path: Path, nodes: int) -> None:
    executor = make(None, memory_gb=2.0, nodes_per_cell=nodes)
    strategy = {1: "single", 2: "ddp"}[nodes]
    job = make_job(tmp_path, fields={"epochs": 40}, num_processes=nodes, strategy=strategy)
    executor.start(job)
    until = time.monotonic() + 120
    while (live := read_live(job.run_dir)) is None or live.epoch < 3:
        assert time.monotonic() < until
        assert executor.poll() == []
        time.sleep(0.1)
    job_id = executor.place(job).split()[2]
    subprocess.run(["scancel", "--signal=USR2", job_id], check=True, timeout=30)
    begin_now(job_id)
    (ended,) = ends(executor, within_s=180)
    assert (ended.kind, ended.message) == ("finished", "")
    record = read_record(job.run_dir)
    assert record is not None
    assert record.measurements is not None
    assert record.measurements.num_resumes == 1
    assert record.environment is not None
    assert record.environment.num_processes == nodes
    assert len(record.history) == 40


@pytest.mark.slow
def test_a_training_of_two_processes_saves_when_slurm_itself_stops_it(make: Make, tmp_path: Path) -> None:
    executor = make(None, memory_gb=2.0)
    job = make_job(tmp_path, fields={"epochs": 2000}, num_processes=2, strategy="ddp")
    executor.start(job)
    until = time.monotonic() + 120
    while (live := read_live(job.run_dir)) is None or live.epoch < 3:
        assert time.monotonic() < until
        assert executor.poll() == []
        time.sleep(0.1)
    subprocess.run(["scancel", executor.place(job).split()[2]], check=True, timeout=30)
    (ended,) = ends(executor)
    assert ended.kind == "killed"
    assert list((job.run_dir / "checkpoint").glob("step-*/*.json"))


@pytest.mark.slow
def test_a_job_that_was_not_told_before_its_time_limit_is_timed_out(
    make: Make, scripted: Scripted, tmp_path: Path
) -> None:
    executor = make(scripted(WAITING), time_minutes=1, sbatch=(("signal", "URG@1"),))
    (job,) = start_all(executor, tmp_path)
    (ended,) = ends(executor, within_s=180)
    assert ended.kind == "timed_out"
    assert "time limit" in ended.message
    assert 60 <= ended.seconds < 180
    assert (job.run_dir / "checkpoint").exists()


@pytest.mark.slow
def test_the_command_again_takes_up_the_jobs_of_a_launcher_that_was_killed(
    make: Make, tmp_path: Path
) -> None:
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(
        "{dataset: digits, models: [mlp], augmentations: [none], precisions: [fp32], seeds: [0, 1], "
        "set: {epochs: 60}}"
    )
    out = tmp_path / "runs"
    words = [
        sys.executable,
        "-m",
        "launch",
        "run",
        str(matrix),
        "--out",
        str(out),
        "--executor",
        "slurm",
        "--cpu",
    ]
    first = subprocess.Popen([*words, "--memory", "1.5GB"], cwd=ROOT)
    try:
        until = time.monotonic() + 120
        while len(list(out.glob("*/live.json"))) < 2:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        first.kill()
        first.wait()
    subprocess.run(words, cwd=ROOT, check=True, timeout=180)
    records = [read_record(path.parent) for path in out.glob("*/record.json")]
    assert len(records) == 2
    for record in records:
        assert record is not None
        assert record.measurements is not None
        assert (record.status, record.measurements.num_resumes) == ("finished", 0)
    assert len(squeue("--noheader", "--array", "--states=all", "--name", name_of(out)).splitlines()) == 2


def name_of(out: Path) -> str:
    """The name of the one array that was submitted for the folder."""
    (folder,) = (out / ".slurm").iterdir()
    return folder.name
