"""The lines that show one moment of a launcher, for a terminal of any width. No torch here.

Whatever comes from a file of a user is shown through `Text`, so that rich reads no markup in it, and
without control characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.text import Text

from launch.screen.snapshot import RunningCell, Snapshot, TopRow
from launch.screen.text import clock, duration, fit, number, significant
from results.store import MAX_LINE_LENGTH, one_line

SILENT_S = 60.0
"""A running cell that has given no sign of life for so long is marked."""

_LEAST_LABEL = 16
_NEXT, _TOP, _NOTES = 3, 3, 3
_LEAST_RUNNING = 4
_BAR_WIDTH, _WIDE_BAR, _WIDE = 8, 16, 120
_PHASES = {
    "startup": "starting",
    "evaluate": "scoring",
    "checkpoint": "saving",
    "write": "writing",
    "compile": "compiles",
}


@dataclass(frozen=True)
class _Column:
    header: str
    align: Literal["left", "right"]
    texts: list[Text]
    importance: int
    """Columns that do not fit are left out, the highest number first."""

    @property
    def width(self) -> int:
        return max(cell_len(self.header), *(cell_len(text.plain) for text in self.texts))


def screen_lines(snapshot: Snapshot, width: int, height: int | None = None) -> list[Text]:
    """The snapshot as lines of at most `width` columns, and at most about `height` lines if that is given."""
    head = _head(snapshot, width)
    for most in (_TOP, 1, 0):
        tail = _tail(snapshot, width, most)
        room = None if height is None else height - len(head) - len(tail) - 2
        if room is None or room >= min(len(snapshot.running), _LEAST_RUNNING):
            break
    return [*head, *_running(snapshot.running, width, room), *tail]


def _head(snapshot: Snapshot, width: int) -> list[Text]:
    num_failed, num_all = sum(snapshot.failed.values()), snapshot.num_all
    title = one_line(snapshot.title)
    words = [(f"{title}  ", "bold", 5)] if title else []
    words.append((f"{snapshot.finished:,} of {num_all:,} finished", "bold green", 0))
    if snapshot.time_left_s is not None:
        words.append((f" · {duration(snapshot.time_left_s)} left", "bold", 1))
    if num_failed:
        words.append((f" · {num_failed:,} failed", "bold red", 2))
    words.append((f" · {len(snapshot.running):,} running", "cyan", 4))
    if snapshot.num_waiting:
        words.append((f" · {snapshot.num_waiting:,} waiting", "", 3))
    while sum(cell_len(word) for word, _, _ in words) > width and len(words) > 1:
        words.remove(max(words, key=lambda word: word[2]))  # the least important
    line = Text.assemble(*((word, style) for word, style, _ in words))
    done = snapshot.finished + num_failed + sum(cell.share or 0.0 for cell in snapshot.running)
    return [_cut(line, width), _bar(done / num_all if num_all else 0.0, width), Text()]


def _running(cells: Sequence[RunningCell], width: int, room: int | None) -> list[Text]:
    if not cells:
        return [Text("nothing is running", style="dim")]
    shown = cells if room is None or len(cells) <= room else cells[: max(1, room - 1)]
    lines = _table(_columns(shown, _WIDE_BAR if width >= _WIDE else _BAR_WIDTH), width)
    if len(shown) < len(cells):
        lines.append(Text(f"... and {len(cells) - len(shown):,} more running", style="dim"))
    return lines


def _columns(cells: Sequence[RunningCell], bar_width: int) -> list[_Column]:
    def numbers(values: list[str]) -> list[Text]:
        return [Text(value) for value in values]

    rates = [_amount(cell.images_per_s) for cell in cells]
    memory = [_amount(cell.memory_mib) for cell in cells]
    scores = ["" if cell.val_accuracy is None else f"{100 * cell.val_accuracy:.2f}" for cell in cells]
    times = ["" if cell.elapsed_s is None else clock(cell.elapsed_s) for cell in cells]
    places = [Text(one_line(cell.place, 24), style="cyan") for cell in cells]
    return [
        _Column("where", "left", places, 5),
        _Column("running", "left", [Text(one_line(cell.label)) for cell in cells], 0),
        _Column("epoch", "left", [_progress(cell, bar_width) for cell in cells], 1),
        _Column("val %", "right", numbers(scores), 2),
        _Column("images/s", "right", numbers(rates), 4),
        _Column("MiB", "right", numbers(memory), 6),
        _Column("time", "right", numbers(times), 3),
    ]


def _progress(cell: RunningCell, bar_width: int) -> Text:
    """A small bar and the epoch, or what the cell is doing instead."""
    if cell.silent_s is not None and cell.silent_s >= SILENT_S:
        return Text(f"silent {duration(cell.silent_s)}", style="yellow")
    epochs = f" {cell.epoch}/{cell.epochs}" if cell.epochs else ""
    if cell.phase == "train" and cell.share is not None:
        return _bar(cell.share, bar_width).append(epochs)
    phase = one_line(_PHASES.get(cell.phase, cell.phase))
    return Text(fit(phase, bar_width) + epochs if epochs else phase)


def _table(columns: list[_Column], width: int) -> list[Text]:
    """The columns that fit; the one of importance 0 takes the room that the others leave."""
    kept = [column for column in columns if any(text.plain for text in column.texts)]
    while True:
        others = sum(column.width for column in kept if column.importance) + 2 * (len(kept) - 1)
        if width - others >= _LEAST_LABEL or len(kept) == 1:
            break
        kept.remove(max(kept, key=lambda column: column.importance))
    widths = [column.width if column.importance else max(1, width - others) for column in kept]
    widths = [min(width, column.width) for width, column in zip(widths, kept, strict=True)]
    lines = [_row(kept, widths, [Text(column.header, style="dim") for column in kept])]
    for index in range(len(kept[0].texts)):
        lines.append(_row(kept, widths, [column.texts[index] for column in kept]))
    return lines


def _row(columns: list[_Column], widths: list[int], texts: list[Text]) -> Text:
    line = Text()
    for place, (column, width, text) in enumerate(zip(columns, widths, texts, strict=True)):
        line.append("  " if place else "")
        cell = text.copy()
        cell.truncate(width, overflow="ellipsis")
        room = " " * (width - cell_len(cell.plain))
        line.append_text(Text(room) + cell if column.align == "right" else cell + Text(room))
    return line


def _tail(snapshot: Snapshot, width: int, most: int) -> list[Text]:
    """What waits, what failed, what is best so far and what else is to be said."""
    lines = []
    if snapshot.queued:
        shown = snapshot.queued[: min(most, _NEXT)]
        lines += [Text(f"next     {one_line(label)}") for label in shown]
        more = snapshot.num_waiting - len(shown)
        lines += [Text(f"         ... and {more:,} more waiting", style="dim")] if more > 0 else []
    if snapshot.failed:
        kinds = sorted(snapshot.failed.items(), key=lambda pair: (-pair[1], pair[0]))
        words = ", ".join(f"{count:,} {one_line(kind, 40).replace('_', ' ')}" for kind, count in kinds)
        lines.append(Text(f"failed   {words}", style="red"))
    lines = [Text(), *lines] if lines else []
    lines += _top(snapshot.top, width, most)
    notes = snapshot.notes[-min(most or 1, _NOTES) :]
    lines += [Text(one_line(note, MAX_LINE_LENGTH), style="yellow") for note in notes]
    return [_cut(line, width) for line in lines]


def _top(rows: Sequence[TopRow], width: int, most: int) -> list[Text]:
    lines: list[Text] = []
    groups = list(dict.fromkeys(row.group for row in rows))
    for group in groups if most else []:
        members = [row for row in rows if row.group == group][:most]
        lines += [Text(), Text(f"best for its compute: {one_line(group)}", style="dim")]
        ratios = [f"{significant(row.accuracy_per_pflop)} %/PFLOP" for row in members]
        columns = [
            _Column("", "left", [Text(str(place)) for place in range(1, len(members) + 1)], 1),
            _Column("", "left", [Text(one_line(row.label)) for row in members], 0),
            _Column("", "left", [Text(_accuracy(row)) for row in members], 2),
            _Column("", "right", [Text(f"{significant(row.train_pflop)} PFLOP") for row in members], 4),
            _Column("", "right", [Text(ratio) for ratio in ratios], 3),
        ]
        lines += _table(columns, width)[1:]
    if any(not row.clears_bar for row in rows) and lines:
        lines.append(Text("* not surely above the accuracy that the vendor claims", style="dim"))
    return lines


def _accuracy(row: TopRow) -> str:
    interval = f"[{row.accuracy_low_percent:.1f}, {row.accuracy_high_percent:.1f}]"
    return f"{row.accuracy_percent:5.2f}% {interval}{'' if row.clears_bar else ' *'}"


def _bar(share: float, width: int) -> Text:
    full = round(min(1.0, max(0.0, share)) * width)
    return Text("━" * full, style="green").append("─" * (width - full), "bright_black")


def _amount(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def overall(snapshot: Snapshot) -> str:
    """The counts in one line, where there is no screen."""
    failed = sum(snapshot.failed.values())
    words = [f"{snapshot.finished:,} of {number(snapshot.num_all, 'cell')} finished"]
    words += [f"{failed:,} failed"] if failed else []
    words += [f"{len(snapshot.running):,} running"]
    words += [f"{duration(snapshot.time_left_s)} left"] if snapshot.time_left_s is not None else []
    return ", ".join(words)
