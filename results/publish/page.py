"""The page of a published folder, in Markdown: what was found, on what, in what time, and how to check it.

write_text(folder / "README.md", page_of(Facts(...)))
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan

from harness.record import Record
from results.leaderboard.board import Board
from results.leaderboard.formats import markdown_lines
from results.markdown import as_text
from results.publish.best import Best
from results.publish.spent import Share, Spent
from results.report.summary import Summary
from results.report.values import UNKNOWN, Missing

REPORT, MEMO = "report.html", "memo.md"
WRITTEN_BY = "Written by `python -m results publish`"


@dataclass(frozen=True)
class Facts:
    """What the page says."""

    folder: str
    """Within the project, or its name."""

    machine: str
    summary: Summary | Missing
    pictures: tuple[str, ...]
    """File names."""

    best: Sequence[Best]
    board: Board
    records: Sequence[Record]
    spent: Spent


def page_of(facts: Facts) -> str:
    """The whole page."""
    return "\n".join(
        [
            f"# Results: {as_text(facts.machine)}\n",
            f"{WRITTEN_BY}: edit nothing here, run it again. The whole story is in "
            f"[the report]({REPORT}) (download it and open it in a browser), on one page in "
            f"[the memo]({MEMO}).\n",
            *_verdict(facts.summary),
            *(f"![{name.removesuffix('.svg')}]({name})\n" for name in facts.pictures),
            *_best(facts.best),
            *_machine(facts.records),
            *_time(facts.spent),
            *_check(facts),
            "# Leaderboards\n",
            "".join(markdown_lines(facts.board)).rstrip() + "\n",
        ]
    )


def _verdict(summary: Summary | Missing) -> list[str]:
    if isinstance(summary, Missing):
        return [f"No recommendation: {as_text(summary.reason)}\n"]
    return [
        f"## {as_text(summary.verdict)}\n",
        f"**{as_text(summary.headline)}** Confidence {as_text(summary.confidence)}: "
        f"{as_text(summary.confidence_because)}.\n",
    ]


def _best(best: Sequence[Best]) -> list[str]:
    head = (
        "league",
        "model, augmentation",
        "test accuracy, 95% interval",
        "of GPipe's 99%",
        "parameters",
        "of GPipe's",
        "training PFLOP",
        "of GPipe's, at most",
        "cell",
    )
    rows = [
        (
            each.league,
            f"{each.model}, {each.augmentation}",
            f"{each.accuracy_percent:.2f}% [{each.low_percent:.2f}, {each.high_percent:.2f}]",
            UNKNOWN if isnan(each.accuracy_share) else f"{each.accuracy_share:.1f}%",
            f"{each.num_params / 1e6:.2f}M",
            f"{each.params_share:.2g}%",
            f"{each.train_pflop:.3g}",
            UNKNOWN if each.compute_share_at_most is None else f"{each.compute_share_at_most:.2g}%",
            each.cell_id,
        )
        for each in best
    ]
    return [
        "## The most accurate of each league\n",
        *_table(head, rows),
        "Chosen by accuracy on validation images. GPipe's training compute is not published: the share is "
        "of a lower bound that is counted from its architecture (`python -m models.amoebanet`). Models that "
        "start from weights have none: the compute that made those is not counted, and GPipe's own "
        "pre-training is.\n",
    ]


def _machine(records: Sequence[Record]) -> list[str]:
    environments = [record.environment for record in records if record.environment is not None]
    facts = {
        "device": (each.device for each in environments),
        "processes x threads of a cell": (
            f"{each.num_processes} x {each.threads_per_process}" for each in environments
        ),
        "system": (each.platform for each in environments),
        "Python": (each.python for each in environments),
        "torch": (each.torch for each in environments),
        "CUDA": (each.cuda or "none" for each in environments),
        "accelerate": (each.accelerate for each in environments),
        "Verdict": (f"{each.verdict}, commit {each.git_commit or 'unknown'}" for each in environments),
        "from, to": (
            [f"{min(record.started_at for record in records)}, {max(record.ended_at for record in records)}"]
            if records
            else []
        ),
    }
    rows = [(name, "; ".join(dict.fromkeys(values))) for name, values in facts.items()]
    return ["## Machine and software\n", *_table(("", "of all runs"), rows)]


def _time(spent: Spent) -> list[str]:
    rows = [
        (name, *_share(share))
        for name, share in (
            ("finished", spent.finished),
            ("stopped early by a budget", spent.stopped),
            ("lost: attempts that failed", spent.lost),
        )
    ]
    head = ("", "runs or attempts", "hours", "core hours", "GPU hours", "training PFLOP")
    return [
        "## Machine time\n",
        *_table(head, rows),
        "Hours are those of each cell, added up, from the start of its process. Runs that were stopped have "
        "no count of their compute.\n",
    ]


def _share(share: Share) -> tuple[str, ...]:
    pflop = f"{share.train_pflop:.3g}" if share.train_pflop else UNKNOWN
    on = [UNKNOWN if share.num_unknown else f"{hours:.2f}" for hours in (share.core_hours, share.gpu_hours)]
    return str(share.count), f"{share.hours:.2f}", *on, pflop


def _check(facts: Facts) -> list[str]:
    runs = shlex.quote(f"{facts.folder}/runs")
    run = f"{runs}/{facts.best[0].cell_id if facts.best else 'CELL_ID'}"
    return [
        "## Check it\n",
        "Everything here is derived from `runs/`, which has the record of each run and what it answered to "
        "every image. From the folder of the project:\n",
        "```bash",
        f"python -m results leaderboard {runs} --by cell --top 0",
        f"python -m results csv {runs}",
        f"python -m results show {run}",
        f"python -m launch reproduce {run} --data-dir DATA",
        "```\n",
        "The last command trains that cell again, on this or another machine, and says whether the two "
        "agree.\n",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head)]
    texts = [f"| {' | '.join(cells)} |" for cells in lines]
    return [*texts, *(f"| {' | '.join(map(as_text, row))} |" for row in rows), ""]
