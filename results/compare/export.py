"""A comparison for programs (JSON) and for documents (Markdown)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from results.compare.details import compare_classes, discordant_images, names_of_classes
from results.compare.paired import compare_pair
from results.compare.power import ALPHA
from results.compare.several import Ranking
from results.compare.ties import group_letters
from results.compare.wording import interval, notes, p_text, points, ranking_verdict, verdict
from results.markdown import as_text
from results.predictions import PredictionSet


def comparison_json(found: Ranking, given: Sequence[PredictionSet]) -> str:
    """Every figure under the name of its field; classes and images where there are two systems."""
    letters = group_letters(list(found.tie_groups), len(found.systems))
    content: dict[str, Any] = {
        "verdict": sentence(found, given),
        "alpha": ALPHA,
        "num_images": len(given[0].labels),
        "systems": [
            asdict(system) | {"tied": tied} for system, tied in zip(found.systems, letters, strict=True)
        ],
        "pairs": [
            asdict(pair.comparison) | {"p_holm": pair.p_holm, "resolved": pair.resolved}
            for pair in found.pairs
        ],
        "tie_groups": [[found.systems[place].name for place in group] for group in found.tie_groups],
        "notes": notes(given, found.pairs),
    }
    if len(given) == 2:
        a, b = given
        comparison = compare_pair(a, b)
        content["details"] = {
            "comparison": asdict(comparison) | {"resolved": comparison.resolved},
            "class_names": names_of_classes(a, b),
            "classes": [asdict(each) | {"resolved": each.resolved} for each in compare_classes(a, b)],
            "images": [asdict(image) for image in discordant_images(a, b)],
        }
    return json.dumps(content, indent=1, allow_nan=False)


def comparison_markdown(found: Ranking, given: Sequence[PredictionSet]) -> str:
    """The verdict, the systems and the pairs, in tables of Markdown."""
    letters = group_letters(list(found.tie_groups), len(found.systems))
    lines = [f"**{as_text(sentence(found, given))}.**", ""]
    lines += _row("#", "system", "accuracy %", "95% interval", "right", "tied")
    lines += _row("--:", ":--", "--:", "--:", "--:", ":--")
    for place, (system, tied) in enumerate(zip(found.systems, letters, strict=True)):
        share = system.accuracy
        lines += _row(
            str(place + 1),
            as_text(system.name),
            points(share.percent, share.n),
            interval(share.low_percent, share.high_percent, share.n),
            f"{share.count:,}",
            tied,
        )
    lines.append("")
    lines += _row("pair", "points", "95% interval", "only first", "only second", "p", "p (Holm)", "resolved")
    lines += _row(":--", *["--:"] * 6, ":--")
    for pair in found.pairs:
        each = pair.comparison
        lines += _row(
            f"{pair.first + 1} and {pair.second + 1}",
            points(each.difference_points, each.n),
            interval(each.low_points, each.high_points, each.n),
            f"{each.only_a:,}",
            f"{each.only_b:,}",
            p_text(each.p_value),
            p_text(pair.p_holm),
            "yes" if pair.resolved else "no",
        )
    lines += ["", *(f"- {as_text(note)}" for note in notes(given, found.pairs))]
    return "\n".join(lines)


def sentence(found: Ranking, given: Sequence[PredictionSet]) -> str:
    """The verdict about two or more systems."""
    return verdict(compare_pair(*given)) if len(given) == 2 else ranking_verdict(found)


def _row(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |"]
