from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cell import CellSpec, make_cell
from harness.errors import UsageError
from harness.recipes import recipe_for
from launch.pruning import Halving

Score = Callable[[CellSpec, int], float]
LONG = 18


def cell(seed: int, epochs: int = LONG, **values: Any) -> CellSpec:
    recipe = recipe_for("mlp", "fast", {"epochs": epochs})
    start = {"dataset": "digits", "model": "mlp", "augmentation": "none", "precision": "fp32"}
    return make_cell(recipe=recipe, seed=seed, **(start | values))


def cells(count: int, epochs: int = LONG, **values: Any) -> list[CellSpec]:
    return [cell(seed, epochs, **values) for seed in range(count)]


def by_seed(spec: CellSpec, epoch: int) -> float:
    """The higher the seed, the better; better with each epoch."""
    return spec.seed / 1000 + epoch / 100


def noisy(seed: int) -> Score:
    """Any order at any epoch, the same whenever it is asked for."""
    return lambda spec, epoch: random.Random(f"{seed} {spec.cell_id} {epoch}").random()


class Paper:
    """Algorithm 2 of arXiv 1810.05934 word for word, for one group of cells of equal length."""

    def __init__(self, names: list[str], eta: int, num_rungs: int) -> None:
        self.eta = eta
        self.new = list(names)
        self.rungs: list[dict[str, float]] = [{} for _ in range(num_rungs)]
        self.promoted: list[set[str]] = [set() for _ in range(num_rungs)]

    def get_job(self) -> tuple[str, int] | None:
        for k in range(len(self.rungs) - 2, -1, -1):
            ranked = sorted(self.rungs[k], key=lambda name: (-self.rungs[k][name], name))
            candidates = ranked[: len(self.rungs[k]) // self.eta]
            promotable = [name for name in candidates if name not in self.promoted[k]]
            if promotable:
                self.promoted[k].add(promotable[0])
                return promotable[0], k + 1
        return (self.new.pop(0), 0) if self.new else None


def simulate(
    halving: Halving,
    score: Score,
    num_workers: int,
    draw: random.Random,
    check: Callable[[tuple[CellSpec, int] | None], None] = lambda job: None,
    fill: bool = False,
) -> list[tuple[str, int]]:
    """Workers that take random times; the jobs in the order in which they were given out."""
    now = 0.0
    given: list[tuple[str, int]] = []
    events: list[tuple[float, int, CellSpec, int]] = []
    while True:
        while len(events) < num_workers:
            job = halving.next_job()
            check(job)
            job = halving.fill() if job is None and fill else job
            if job is None:
                break
            spec, epoch = job
            heapq.heappush(events, (now + draw.random(), len(given), spec, epoch))
            given.append((spec.cell_id, epoch))
        if not events:
            return given
        now, _, spec, epoch = heapq.heappop(events)
        halving.report(spec.cell_id, epoch, score(spec, epoch))


def counts(given: list[tuple[str, int]]) -> dict[int, int]:
    epochs = [epoch for _, epoch in given]
    return {epoch: epochs.count(epoch) for epoch in sorted(set(epochs))}


@pytest.mark.parametrize(
    ("epochs", "eta", "rungs"),
    [
        (18, 3, [2, 6, 18]),
        (15, 3, [2, 5, 15]),
        (200, 3, [23, 67, 200]),
        (9, 3, [1, 3, 9]),
        (4, 3, [1, 2, 4]),
        (3, 3, [1, 3]),
        (2, 3, [1, 2]),
        (1, 3, [1]),
        (16, 2, [4, 8, 16]),
        (16, 4, [1, 4, 16]),
    ],
)
def test_the_rungs_are_shares_of_the_cells_own_epochs(epochs: int, eta: int, rungs: list[int]) -> None:
    assert Halving([], eta).rungs(cell(0, epochs)) == rungs


@pytest.mark.parametrize("num_workers", [1, 2, 7])
@pytest.mark.parametrize("eta", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_every_decision_is_that_of_the_papers_algorithm(num_workers: int, eta: int, seed: int) -> None:
    matrix = cells(40, epochs=32)
    halving, draw = Halving(matrix, eta), random.Random(seed)
    rungs = halving.rungs(matrix[0])
    paper = Paper(sorted(each.cell_id for each in matrix), eta, len(rungs))
    running: list[tuple[CellSpec, int]] = []
    num_jobs = 0
    while True:
        job, expected = halving.next_job(), paper.get_job()
        assert (job and (job[0].cell_id, rungs.index(job[1]))) == expected
        if job is not None:
            running.append(job)
            num_jobs += 1
        elif not running:
            break
        while len(running) >= num_workers or (running and (job is None or draw.random() < 0.3)):
            spec, epoch = running.pop(draw.randrange(len(running)))
            score = noisy(seed)(spec, epoch)
            halving.report(spec.cell_id, epoch, score)
            paper.rungs[rungs.index(epoch)][spec.cell_id] = score
            job = draw.choice([None, (spec, epoch)])  # some ends are reported together
    assert num_jobs > 40 + 40 // eta - 1


@given(
    count=st.integers(1, 40), eta=st.integers(2, 4), num_workers=st.integers(1, 8), seed=st.integers(0, 999)
)
@settings(max_examples=40, deadline=None)
def test_who_is_promoted_is_in_the_top_of_the_rung_at_that_time(
    count: int, eta: int, num_workers: int, seed: int
) -> None:
    matrix, score = cells(count), noisy(seed)
    halving = Halving(matrix, eta)
    first, second, last = halving.rungs(matrix[0])
    below = {second: first, last: second}
    reached: dict[int, dict[str, float]] = {first: {}, second: {}, last: {}}

    def see(spec: CellSpec, epoch: int) -> float:
        reached[epoch][spec.cell_id] = score(spec, epoch)
        return score(spec, epoch)

    def check(job: tuple[CellSpec, int] | None) -> None:
        if job is not None and job[1] in below:
            scored = reached[below[job[1]]]
            better = [value for value in scored.values() if value > scored[job[0].cell_id]]
            assert len(better) < len(scored) // eta

    given_out = simulate(halving, see, num_workers, random.Random(seed), check)
    assert counts(given_out)[first] == count
    assert len(set(given_out)) == len(given_out), "nothing is trained twice"


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 27, 40])
@pytest.mark.parametrize("eta", [2, 3])
def test_with_a_worker_for_every_cell_it_is_synchronous_successive_halving(count: int, eta: int) -> None:
    matrix, score = cells(count), noisy(count)
    halving = Halving(matrix, eta)
    survivors = sorted(matrix, key=lambda each: each.cell_id)
    for epoch in halving.rungs(matrix[0]):
        jobs = []
        while (job := halving.next_job()) is not None:
            jobs.append(job)
        assert sorted(jobs, key=lambda job: job[0].cell_id) == [(each, epoch) for each in survivors]
        for each, _ in jobs:
            halving.report(each.cell_id, epoch, score(each, epoch))
        ranked = sorted(survivors, key=lambda each: -score(each, epoch))
        survivors = sorted(ranked[: len(ranked) // eta], key=lambda each: each.cell_id)


@pytest.mark.parametrize("num_workers", [1, 3, 16])
def test_scores_that_mean_something_bring_few_runs_beyond_those_of_synchronous_halving(
    num_workers: int,
) -> None:
    matrix = cells(81)
    first, second, last = Halving([]).rungs(matrix[0])
    for seed in range(5):
        halving = Halving(matrix)
        given_out = simulate(halving, by_seed, num_workers, random.Random(seed))
        runs = counts(given_out)
        assert runs[first] == 81
        assert 27 <= runs[second] <= 27 + 2 * 9, "wrongly promoted are of the order of the root of n"
        assert 9 <= runs[last] <= 9 + 2 * 3 + runs[second] // 3 - 9
        best = max(matrix, key=lambda each: each.seed)
        assert (best.cell_id, last) in given_out


def test_the_same_calls_give_the_same_answers_whatever_the_order_of_the_matrix() -> None:
    matrix = cells(30)
    runs = []
    for order in (matrix, matrix[::-1], matrix[10:] + matrix[:15]):
        runs.append(simulate(Halving(order), noisy(1), 4, random.Random(2), fill=True))
    assert runs[0] == runs[1] == runs[2]


def test_a_promotion_from_a_higher_rung_comes_first() -> None:
    matrix = cells(12)
    halving = Halving(matrix)
    for each in matrix[9:]:
        halving.report(each.cell_id, 2, 0.8)
        halving.report(each.cell_id, 6, by_seed(each, 6))
    for each in matrix[:9]:
        halving.report(each.cell_id, 2, by_seed(each, 2))
    assert halving.next_job() == (matrix[11], LONG)
    assert halving.next_job() == (matrix[8], 6)
    assert halving.next_job() is None


def test_cells_are_compared_with_their_like_only() -> None:
    digits, cifar = cells(3), cells(3, dataset="cifar10")
    bought = cells(3, pretrained="file:weights.pt", weights_sha256="0" * 64)
    others = cells(3, val_fraction=0.2)
    halving = Halving([*digits, *cifar, *bought, *others])
    for level, group in enumerate((digits, cifar, bought, others)):
        for each in group:
            halving.report(each.cell_id, 2, level / 5 + each.seed / 100)
    promoted = set()
    while (job := halving.next_job()) is not None:
        promoted.add(job[0].cell_id)
    assert promoted == {group[2].cell_id for group in (digits, cifar, bought, others)}


def test_cells_of_different_lengths_are_compared_at_the_same_share_of_their_training() -> None:
    matrix = [cell(0, 9), cell(1, 18), cell(2, 90)]
    halving = Halving(matrix)
    jobs = [halving.next_job() for _ in matrix]
    assert sorted((job[0].seed, job[1]) for job in jobs if job) == [(0, 1), (1, 2), (2, 10)]
    for job in jobs:
        assert job is not None
        halving.report(job[0].cell_id, job[1], 0.5 + job[0].seed / 10)
    assert halving.next_job() == (matrix[2], 30)


def test_cells_of_one_epoch_just_run() -> None:
    matrix = cells(5, epochs=1)
    halving = Halving(matrix)
    given_out = simulate(halving, noisy(0), 2, random.Random(0))
    assert sorted(given_out) == sorted((each.cell_id, 1) for each in matrix)
    assert len(halving) == 0
    assert halving.waiting() == []
    assert halving.fill() is None


def test_nothing_new_is_started_where_that_is_not_wanted() -> None:
    matrix = cells(4)
    halving = Halving(matrix)
    assert halving.next_job(can_start_new=False) is None
    for each in matrix[:3]:
        halving.report(each.cell_id, 2, by_seed(each, 2))
    assert halving.next_job(can_start_new=False) == (matrix[2], 6)
    assert halving.next_job(can_start_new=False) is None
    assert halving.next_job() == (matrix[3], 2)


def test_in_the_end_those_stopped_early_are_trained_on_the_best_first() -> None:
    matrix = cells(9)
    halving = Halving(matrix)
    assert halving.fill() is None, "nothing has been tried"
    for each in matrix:
        assert halving.fill() is None, "not everything has been tried"
        halving.report(each.cell_id, 2, by_seed(each, 2))
    while (job := halving.next_job()) is not None:
        halving.report(job[0].cell_id, job[1], by_seed(*job))
    assert len(halving) == 8, "one in nine has come to its end"
    filled = []
    while (job := halving.fill()) is not None:
        filled.append((job[0].seed, job[1]))
        halving.report(job[0].cell_id, job[1], by_seed(*job))
        assert halving.next_job() is None, "the way to the end is not compared with anything"
    assert filled == [(seed, LONG) for seed in (7, 6, 5, 4, 3, 2, 1, 0)]
    assert len(halving) == 0


def test_of_several_groups_the_one_whose_best_is_waiting_is_filled_first() -> None:
    three, two = cells(3), cells(2, dataset="cifar10")
    for order in ([*three, *two], [*two, *three]):
        halving = Halving(order)
        for each in order:
            halving.report(each.cell_id, 2, by_seed(each, 2))
        assert halving.next_job() == (three[2], 6)
        assert halving.fill() == (two[1], LONG), (
            "first of its group; of the other the second is the best left"
        )
        assert {halving.fill(), halving.fill()} == {(two[0], LONG), (three[1], LONG)}
        assert halving.fill() == (three[0], LONG)


def test_a_filling_that_was_put_back_leaves_a_rival_like_any_other() -> None:
    matrix = cells(3)
    halving = Halving(matrix)
    for each in matrix[:2]:
        halving.report(each.cell_id, 2, by_seed(each, 2))
    assert halving.fill(skip={matrix[2].cell_id}) == (matrix[1], LONG)
    halving.put_back(matrix[1].cell_id)
    halving.report(matrix[2].cell_id, 2, 0.0)
    assert halving.next_job() == (matrix[1], 6)
    halving.report(matrix[1].cell_id, 6, 0.5)
    assert [waiting.epoch for waiting in halving.waiting()] == [6, 2, 2]


def test_what_went_to_its_end_without_promotion_is_no_rival_on_the_way() -> None:
    matrix = cells(12)
    halving = Halving(matrix)
    for each in matrix:
        halving.report(each.cell_id, 2, by_seed(each, 2))
    promoted = [halving.next_job() for _ in range(5)]
    assert promoted == [*((matrix[seed], 6) for seed in (11, 10, 9, 8)), None]
    assert halving.fill() == (matrix[7], LONG)
    halving.report(matrix[7].cell_id, LONG, 0.99)
    halving.report(matrix[8].cell_id, 6, 0.5)
    assert "is place 1 of 1 there" in halving.waiting()[0].why


@given(
    count=st.integers(1, 30), num_workers=st.integers(1, 5), seed=st.integers(0, 999), lose=st.floats(0, 0.9)
)
@settings(max_examples=40, deadline=None)
def test_with_room_for_all_every_cell_comes_to_its_end_or_fails(
    count: int, num_workers: int, seed: int, lose: float
) -> None:
    matrix = [cell(number, 1 + 7 * number % 20) for number in range(count)]
    halving, draw = Halving(matrix), random.Random(seed)
    running: list[tuple[CellSpec, int]] = []
    ended = set()
    for _ in range(50 * count):
        while len(running) < num_workers:
            job = halving.next_job() or halving.fill()
            if job is None:
                break
            assert job[0].cell_id not in ended
            assert job[0] not in [spec for spec, _ in running], "a cell is trained once at a time"
            running.append(job)
        if not running:
            break
        spec, epoch = running.pop(draw.randrange(len(running)))
        luck = draw.random()
        if luck < lose / 2:
            halving.failed(spec.cell_id)
            ended.add(spec.cell_id)
        elif luck < lose:
            halving.put_back(spec.cell_id)
        else:
            halving.report(spec.cell_id, epoch, draw.random())
            if epoch == spec.recipe.epochs:
                ended.add(spec.cell_id)
    assert not running
    assert ended == {each.cell_id for each in matrix}
    assert len(halving) == 0
    assert halving.waiting() == []


def test_what_was_stopped_early_says_why() -> None:
    matrix = cells(4)
    halving = Halving(matrix)
    for each, score in zip(matrix, (0.5, 0.25, 0.4, 0.3125), strict=True):
        halving.report(each.cell_id, 2, score)
    assert halving.next_job() == (matrix[0], 6)
    halving.report(matrix[0].cell_id, 6, 0.75)
    assert [(waiting.cell.seed, waiting.epoch, waiting.score) for waiting in halving.waiting()] == [
        (0, 6, 0.75),
        (2, 2, 0.4),
        (3, 2, 0.3125),
        (1, 2, 0.25),
    ]
    assert [waiting.why for waiting in halving.waiting()[1:3]] == [
        "stopped after epoch 2 of 18: validation accuracy 40.00% is place 2 of 4 there, and one in 3 goes on",
        "stopped after epoch 2 of 18: validation accuracy 31.25% is place 3 of 4 there, and one in 3 goes on",
    ]
    assert halving.fill() == (matrix[0], LONG)
    assert [waiting.cell.seed for waiting in halving.waiting()] == [2, 3, 1]


def test_a_failed_cell_takes_nobodys_place() -> None:
    matrix = cells(6)
    halving = Halving(matrix)
    for each in matrix:
        halving.report(each.cell_id, 2, by_seed(each, 2))
    assert halving.next_job() == (matrix[5], 6)
    halving.failed(matrix[5].cell_id)
    assert halving.next_job() == (matrix[4], 6), "one of the five that are left"
    assert halving.next_job() is None
    assert len(halving) == 5
    halving.failed(matrix[0].cell_id)
    assert matrix[0] not in [waiting.cell for waiting in halving.waiting()]
    assert len(halving) == 4
    halving.report(matrix[0].cell_id, 2, 0.01)
    assert len(halving) == 5, "it did better when another launcher tried"


def test_a_job_that_was_not_done_is_given_out_again() -> None:
    matrix = cells(3)
    halving = Halving(matrix)
    jobs = [halving.next_job() for _ in matrix]
    assert halving.next_job() is None
    assert jobs[1] is not None
    halving.put_back(jobs[1][0].cell_id)
    assert halving.next_job(can_start_new=False) is None, "it is new again"
    assert halving.next_job() == jobs[1]
    for each in matrix:
        halving.report(each.cell_id, 2, by_seed(each, 2))
    assert halving.next_job() == (matrix[2], 6)
    halving.put_back(matrix[2].cell_id)
    assert halving.next_job(skip={matrix[2].cell_id}) is None
    assert halving.next_job() == (matrix[2], 6)
    assert halving.next_job() is None


def test_a_decision_that_was_put_back_is_made_anew() -> None:
    matrix = cells(6)
    halving = Halving(matrix)
    for each in matrix[:5]:
        halving.report(each.cell_id, 2, by_seed(each, 2))
    assert halving.next_job() == (matrix[4], 6)
    before = [waiting.why for waiting in halving.waiting()]
    assert halving.fill(skip={matrix[5].cell_id}) == (matrix[3], LONG)
    halving.put_back(matrix[3].cell_id)
    halving.put_back(matrix[3].cell_id)
    assert [waiting.why for waiting in halving.waiting()] == before
    halving.put_back(matrix[4].cell_id)
    halving.report(matrix[5].cell_id, 2, 0.9)
    assert halving.next_job() == (matrix[5], 6), "the best is another one by now"
    assert halving.next_job() == (matrix[4], 6)
    halving.report(matrix[4].cell_id, 6, 0.5)
    halving.put_back(matrix[4].cell_id)
    assert [waiting.cell for waiting in halving.waiting()][:2] == [matrix[4], matrix[3]]


def test_cells_that_others_have_are_not_touched_and_their_results_count() -> None:
    matrix = cells(4)
    halving = Halving(matrix)
    others = {matrix[0].cell_id, matrix[3].cell_id}
    jobs = [halving.next_job(skip=others) for _ in range(3)]
    assert jobs[2] is None
    assert {job[0].seed for job in jobs if job} == {1, 2}
    for each in matrix:
        halving.report(each.cell_id, 2, by_seed(each, 2))
    assert halving.next_job(skip=others) is None, "the best is with another launcher"
    assert halving.fill(skip=others) == (matrix[2], LONG)
    assert halving.next_job() == (matrix[3], 6)


def test_filling_does_not_wait_for_cells_that_others_have() -> None:
    matrix = cells(2)
    halving = Halving(matrix)
    halving.report(matrix[0].cell_id, 2, 0.5)
    assert halving.fill() is None
    assert halving.fill(skip={matrix[1].cell_id}) == (matrix[0], LONG)


@pytest.mark.parametrize("seed", range(10))
def test_a_launcher_that_starts_again_decides_as_the_one_before_would_have(seed: int) -> None:
    matrix, draw = cells(30), random.Random(seed)
    before, known = Halving(matrix), []
    for _ in range(draw.randrange(20, 40)):
        job = before.next_job()
        if job is None:
            break
        known.append((job[0].cell_id, job[1], noisy(seed)(*job)))
        before.report(*known[-1])
    draw.shuffle(known)
    after = Halving(matrix, known=known)
    assert [each.why for each in after.waiting()] == [each.why for each in before.waiting()]
    assert len(after) == len(before)
    rest = [simulate(each, noisy(seed), 3, random.Random(1), fill=True) for each in (before, after)]
    assert rest[0] == rest[1]


def test_a_launcher_that_knows_only_the_last_score_of_each_cell_promotes_no_more_than_there_are_places() -> (
    None
):
    matrix = cells(9)
    known = [(each.cell_id, 2, by_seed(each, 2)) for each in matrix[:6]]
    known += [(each.cell_id, 6, by_seed(each, 6)) for each in matrix[6:]]
    halving = Halving(matrix, known=known)
    assert halving.next_job() == (matrix[8], LONG)
    assert halving.next_job() is None


def test_a_cell_interrupted_on_its_way_to_a_rung_goes_on_first() -> None:
    matrix = cells(9)
    known = [(matrix[0].cell_id, 4, 0.3), (matrix[1].cell_id, 1, 0.1), (matrix[2].cell_id, 11, 0.2)]
    known += [(each.cell_id, 2, 0.4 + each.seed / 100) for each in matrix[3:]]
    halving = Halving(matrix, known=known)
    assert [halving.next_job() for _ in range(6)] == [
        (matrix[2], LONG),
        (matrix[0], 6),
        (matrix[1], 2),
        (matrix[8], 6),
        (matrix[7], 6),
        None,
    ]
    halving.put_back(matrix[2].cell_id)
    assert halving.next_job(skip={matrix[2].cell_id}) is None
    assert halving.next_job() == (matrix[2], LONG)


def test_a_score_reported_twice_counts_once() -> None:
    matrix = cells(3)
    halving = Halving(matrix)
    for each in (*matrix, *matrix):
        halving.report(each.cell_id, 2, by_seed(each, 2))
    assert [waiting.why.split("place ")[1][:6] for waiting in halving.waiting()] == [
        "1 of 3",
        "2 of 3",
        "3 of 3",
    ]


def test_cells_without_validation_images_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^cells are stopped early by .* val_fraction 0 leaves none: .*$"):
        Halving(cells(2, val_fraction=0))


def test_an_eta_below_two_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^eta 1: expected 2 or more"):
        Halving([], eta=1)


def test_ten_thousand_cells_are_scheduled_in_no_time() -> None:
    recipe = recipe_for("mlp", "fast", {"epochs": LONG})
    first = cell(0)
    matrix = [first.model_copy(update={"seed": seed, "recipe": recipe}) for seed in range(10_000)]
    halving = Halving(matrix)
    before = time.process_time()
    for number in range(10_000):
        job = halving.next_job()
        assert job is not None
        halving.report(job[0].cell_id, job[1], random.Random(number).random())
    assert time.process_time() - before < 10
