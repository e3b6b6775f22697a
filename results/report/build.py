"""Gather everything that the report shows; each part a value, or the reason why there is none.

report = build_report(Request(runs=Path("runs")))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import VerdictError
from results.audit.result import Audit, read_audit
from results.economics.assumptions import load_assumptions
from results.economics.choose import CHOICE_COLUMNS
from results.index.load import load_table, usable_processors
from results.index.run_table import RunTable
from results.recommend.evidence import Evidence, gather
from results.recommend.rule import recommend
from results.references import Reference, load_references
from results.report import boards, leaderboard, provenance
from results.report.accuracy_chart import accuracy_chart
from results.report.audit_tables import AuditShown, audit_shown
from results.report.boards import Board, boards_of
from results.report.charts import drawing
from results.report.class_tables import confusion_table, corruption_table, recall_table
from results.report.confidence_charts import reliability_chart, risk_coverage_chart
from results.report.leaders import Leader, read_leaders
from results.report.learning_charts import learning_curves
from results.report.mistakes import Mistakes, worst_mistakes
from results.report.money import Money, money_of
from results.report.palette import Palette, make_palette
from results.report.pareto_charts import pareto_chart
from results.report.provenance import Origin, cells_of, origins
from results.report.summary import Summary, summary_of
from results.report.value_tables import ValueNumbers, value_numbers
from results.report.values import Chart, Missing, Table
from results.store import one_line
from results.value.peers import Peers, peer_groups
from results.value.summary import VALUE_COLUMNS, value_of

MAX_BOARDS = 4
MAX_CHARTS_OF_COST = 12
MAX_WARNINGS = 20

_COLUMNS = tuple(
    dict.fromkeys(
        (*boards.COLUMNS, *leaderboard.COLUMNS, *provenance.COLUMNS, *VALUE_COLUMNS, *CHOICE_COLUMNS)
    )
)


@dataclass(frozen=True)
class Request:
    """What the report is about."""

    runs: Path
    audit: Path | None = None
    assumptions: Path | None = None
    settings: tuple[str, ...] = ()
    cell: str | None = None
    data_dir: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class BoardShown:
    """Everything about one set of data and league."""

    board: Board
    leaderboard: Table
    accuracy: Chart
    costs: tuple[Chart, ...]
    costs_missing: tuple[Missing, ...]
    numbers: ValueNumbers
    curves: tuple[Chart, ...] | Missing
    confusions: tuple[Table, ...]
    recall: Table
    corruptions: Table | Missing
    reliability: tuple[Chart, ...]
    risk: Chart | Missing

    def looks(self, palette: Palette) -> list[str]:
        """The looks that the charts of costs have, in the order of the palette."""
        present = {palette.group(one_line(str(model), 60)) for model in set(self.board.table.texts("model"))}
        return [name for name in palette.names if name in present]


@dataclass(frozen=True)
class Report:
    """Everything that is shown."""

    folder: str
    """Name of the folder that was read."""

    num_finished: int
    summary: Summary | Missing
    main: BoardShown | None
    """The board of the run that stands for building, or the first; None without a finished run."""

    boards: tuple[BoardShown, ...]
    num_boards_left_out: int
    palette: Palette
    mistakes: Mistakes | Missing
    money: Money | Missing
    audit: AuditShown | Missing
    failures: Table | None
    num_unfinished: int
    warnings: tuple[str, ...]
    num_warnings_left_out: int
    references: tuple[Reference, ...]
    origins: tuple[Origin, ...]

    def charts(self) -> Iterator[Chart]:
        """Every chart."""
        for part in self.parts():
            if isinstance(part, Chart):
                yield part

    def parts(self) -> Iterator[Table | Chart]:
        """Every table and chart, those of charts left out."""
        for shown in self.boards:
            yield from (shown.leaderboard, shown.accuracy, shown.numbers.numbers, shown.recall)
            yield from (*shown.costs, *shown.reliability)
            yield from shown.confusions
            if not isinstance(shown.curves, Missing):
                yield from shown.curves
            for part in (shown.numbers.weights, shown.corruptions, shown.risk):
                if not isinstance(part, Missing):
                    yield part
        if isinstance(self.money, Money):
            yield from (self.money.draws, self.money.costs, self.money.flips, self.money.assumptions)
            if self.money.tornado is not None:
                yield self.money.tornado
        if isinstance(self.audit, AuditShown):
            yield from (self.audit.facts, self.audit.weak_classes)
        if self.failures is not None:
            yield self.failures


def build_report(request: Request) -> Report:
    """Gather everything that the report shows.

    Raises:
        VerdictError: there are no runs, no audit or no assumptions where they were said to be.
    """
    with drawing():
        return _build(request)


def _build(request: Request) -> Report:
    table = load_table(request.runs, _COLUMNS, usable_processors())
    audit = None if request.audit is None else read_audit(request.audit)
    evidence, summary, money = _decision(request, table)
    all_boards = boards_of(table)
    wanted = None if evidence is None else evidence.cell_id
    shown_boards = _first_with(all_boards, wanted)[:MAX_BOARDS]
    leaders, problems = read_leaders(shown_boards, wanted)
    palette = make_palette(_models(leaders, shown_boards))
    peers = peer_groups(table) if shown_boards else ()
    shown = tuple(
        _board_shown(board, [leader for leader in leaders if leader.board is board], peers, audit, palette)
        for board in shown_boards
        if any(leader.board is board for leader in leaders)
    )
    best = next((leader for leader in leaders if leader.cell_id == wanted), leaders[0] if leaders else None)
    warnings = (*problems, *(one_line(text, 300) for text in table.warnings))
    report = Report(
        folder=one_line(request.runs.resolve().name, 80) or "/",
        num_finished=sum(len(board.table) for board in all_boards),
        summary=summary,
        main=shown[0] if shown else None,
        boards=shown,
        num_boards_left_out=len(all_boards) - len(shown),
        palette=palette,
        mistakes=Missing("No run has finished.") if best is None else worst_mistakes(best, request.data_dir),
        money=money,
        audit=audit_shown(audit)
        if audit is not None
        else Missing(
            "The vendor was not audited: what it claims is only a claim. python -m results audit scores "
            "its predictions; --audit FOLDER brings the result in here."
        ),
        failures=leaderboard.failure_table(table),
        num_unfinished=table.num_unfinished,
        warnings=warnings[:MAX_WARNINGS],
        num_warnings_left_out=max(0, len(warnings) - MAX_WARNINGS),
        references=tuple(load_references().values()),
        origins=(),
    )
    return _with_origins(report, table, evidence)


def _decision(
    request: Request, table: RunTable
) -> tuple[Evidence | None, Summary | Missing, Money | Missing]:
    """The recommendation and the costs, or why there are none."""
    figures = load_assumptions(request.assumptions, list(request.settings))
    if not table.is_finished.any():
        missing = Missing("No run has finished, so there is nothing to weigh yet.")
        return None, missing, missing
    try:
        evidence = gather(table, request.audit, figures, request.cell, request.seed)
    except VerdictError as error:
        if request.cell is not None:
            raise
        missing = Missing(f"There is no recommendation: {one_line(str(error), 300)}.")
        return None, missing, missing
    notes = tuple(one_line(note, 400) for note in evidence.candidate.notes)
    return evidence, summary_of(evidence, recommend(evidence)), money_of(evidence.appraisal, notes)


def _first_with(all_boards: tuple[Board, ...], cell_id: str | None) -> tuple[Board, ...]:
    """The boards in their order, the one with that run first."""
    return tuple(sorted(all_boards, key=lambda board: cell_id not in set(board.table.texts("cell_id"))))


def _models(leaders: tuple[Leader, ...], shown: tuple[Board, ...]) -> list[str]:
    """Models in the order in which they get a look: those of the leaders first."""
    models = [leader.model for leader in leaders]
    return models + [str(model) for board in shown for model in board.table.texts("model")]


def _board_shown(
    board: Board,
    leaders: list[Leader],
    peers: tuple[Peers, ...],
    audit: Audit | None,
    palette: Palette,
) -> BoardShown:
    key = board.key
    group = next(group for group in peers if board.is_of(group))
    value = value_of(group)
    costs: list[Chart] = []
    missing: list[Missing] = []
    for number, view in enumerate(value.views[:MAX_CHARTS_OF_COST]):
        chart = pareto_chart(f"{key}-cost{number}", group.table, view, palette)
        if isinstance(chart, Chart):
            costs.append(chart)
        else:
            missing.append(chart)
    if len(value.views) > MAX_CHARTS_OF_COST:
        missing.append(
            Missing(f"{len(value.views) - MAX_CHARTS_OF_COST} more, of other devices: results value.")
        )
    reliability = [
        reliability_chart(f"{key}-reliability{n}", each, palette) for n, each in enumerate(leaders)
    ]
    return BoardShown(
        board=board,
        leaderboard=leaderboard.leaderboard_table(board),
        accuracy=accuracy_chart(f"{key}-accuracy", leaders, audit, palette),
        costs=tuple(costs),
        costs_missing=tuple(missing),
        numbers=value_numbers(key, value),
        curves=learning_curves(f"{key}-curves", leaders, palette),
        confusions=tuple(confusion_table(f"{key}-confusion{n}", each) for n, each in enumerate(leaders)),
        recall=recall_table(f"{key}-recall", leaders),
        corruptions=corruption_table(f"{key}-corruptions", leaders),
        reliability=tuple(chart for chart in reliability if isinstance(chart, Chart)),
        risk=risk_coverage_chart(f"{key}-risk", leaders, palette),
    )


def _with_origins(report: Report, table: RunTable, evidence: Evidence | None) -> Report:
    """The report with the origins of every run that it names."""
    named = cells_of(report.parts())
    if evidence is not None:
        named.add(evidence.cell_id)
    if isinstance(report.mistakes, Mistakes):
        named.add(report.mistakes.cell_id)
    if isinstance(report.audit, AuditShown) and report.audit.better_cell_id is not None:
        named.add(report.audit.better_cell_id)
    return replace(report, origins=origins(table, named))
