import os
from collections.abc import Callable
from pathlib import Path

from harness.cell import CellSpec
from harness.record import read_record
from harness.settings import Settings
from launch.budget import Spending
from launch.claim import Claims
from launch.halving_queue import HalvingQueue
from launch.job import Job
from launch.local import Limits, LocalExecutor
from launch.matrix.budget import Budget
from launch.outcome import keep_failure
from launch.scheduler import Policy, Scheduler
from launch.slots import Slots
from launch.summary import Summary
from tests.launch.jobs import tiny_cell
from tests.launch.test_scheduler import Watched

Scripted = Callable[[str], Callable[[Job, Settings], list[str]]]
CORE = min(os.sched_getaffinity(0))
EPOCHS, FLOPS = 9, 9.0
TRAIN = """
sys.path[0] = ''
from harness.cell import make_cell
from harness.live import Live, read_live, write_live
from harness.record import EpochRow, Record, write_record
cell = make_cell(**json.loads((run_dir / 'cell.json').read_text()))
before = read_live(run_dir)
first = 0 if before is None else before.epoch
with open(run_dir.parent / 'trained.txt', 'a') as file:
    print(cell.seed, first, UNTIL, file=file)
accuracy = cell.seed / 100 + UNTIL / 1000
now, pid = time.time(), os.getpid()
write_live(run_dir, Live('train', UNTIL, 9, UNTIL, 9, 1.0, accuracy, 1.0, 1.0, now, pid, 'here'))
if UNTIL < 9:
    say('{"kind": "paused", "message": ""}')
else:
    rows = [EpochRow(epoch=9, train_loss=1, val_loss=1, val_accuracy=accuracy, lr=1, train_time_s=1)]
    write_record(run_dir, Record(status='finished', cell_id=cell.cell_id, cell=cell, command='x',
                                 started_at='x', ended_at='x', environment=None, history=rows))
"""


def schedule(
    out: Path, scripted: Scripted, cells: list[CellSpec], budget: float
) -> tuple[Summary, HalvingQueue]:
    """Run cells whose accuracy grows with their seed, for so many FLOPs; each of their epochs takes one."""

    def command_of(job: Job, settings: Settings) -> list[str]:
        return scripted(TRAIN.replace("UNTIL", str(job.until_epoch or EPOCHS)))(job, settings)

    executor = LocalExecutor(Slots([(CORE,)], []), Settings(out=out, cpu=True), Limits(), command_of)
    spending = Spending(Budget("flops", budget))
    queue = HalvingQueue(out, cells, spending, {cell.cell_id: FLOPS for cell in cells})
    scheduler = Scheduler(out, queue, executor, Claims(out), Watched(), lambda job: "a command", Policy())
    return scheduler.run(), queue


def make_cells(count: int) -> list[CellSpec]:
    return [tiny_cell(seed=seed, fields={"epochs": EPOCHS}) for seed in range(count)]


def trained(out: Path) -> list[tuple[int, ...]]:
    return [tuple(map(int, line.split())) for line in (out / "trained.txt").read_text().splitlines()]


def test_a_budget_goes_to_the_best_and_says_what_was_stopped(tmp_path: Path, scripted: Scripted) -> None:
    cells = make_cells(9)
    summary, queue = schedule(tmp_path, scripted, cells, budget=9 * 1 + 3 * 2 + 6)
    assert len(summary.finished) == 1
    steps = trained(tmp_path)
    assert sorted(seed for seed, first, _ in steps if first == 0) == list(range(9))  # each was tried
    assert [seed for seed, _, until in steps if until == EPOCHS] == [8]  # the best came to its end
    pruned = queue.pruned()
    assert len(pruned) == 8
    assert all(ended.kind == "pruned" for ended in pruned)
    worst = next(ended for ended in pruned if ended.job.cell.seed == 0)
    assert "stopped after epoch 1 of 9" in worst.message
    assert "of 9 there" in worst.message
    keep_failure(worst, "a command")
    record = read_record(worst.job.run_dir)
    assert record is not None
    assert record.failure is not None
    assert record.failure.kind == "pruned"


def test_a_larger_budget_takes_up_what_was_stopped(tmp_path: Path, scripted: Scripted) -> None:
    cells = make_cells(4)
    first, queue = schedule(tmp_path, scripted, cells, budget=4)
    for ended in queue.pruned():
        keep_failure(ended, "a command")
    num_before = len(trained(tmp_path))
    stopped = {ended.job.cell.seed for ended in queue.pruned()}
    assert len(stopped) == 3  # one of four was not even started
    assert not first.finished
    second, _ = schedule(tmp_path, scripted, cells, budget=1000)
    assert len(second.finished) == 4
    went_on = [begin for seed, begin, _ in trained(tmp_path)[num_before:] if seed in stopped]
    assert len(went_on) >= 3
    assert 0 not in went_on  # from their checkpoints


def test_with_room_for_all_every_cell_comes_to_its_end(tmp_path: Path, scripted: Scripted) -> None:
    summary, queue = schedule(tmp_path, scripted, make_cells(4), budget=1000)
    assert len(summary.finished) == 4
    assert queue.pruned() == []
    assert summary.unfinished == 0
