from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from harness.console import EXIT_BAD_INPUT, run_command
from harness.errors import UsageError
from results.audit.result import StoredAudit, write_audit
from results.economics.assumptions import load_assumptions
from results.economics.choose import choose_vendor
from results.economics.command import economics
from results.economics.decide import Appraisal, appraise
from results.economics.facts import BuyFacts, build_facts
from results.economics.keys import KEYS
from results.economics.page import print_economics
from results.economics.words import answer_words
from results.predictions import from_run
from results.store import load_runs
from tests.results.conftest import RunFactory
from tests.results.economics.conftest import make_build

CLAIM = BuyFacts("Detectocorp", 70.0)


@pytest.fixture(scope="module")
def appraisal() -> Appraisal:
    return appraise(make_build(), CLAIM, load_assumptions())


def page(appraisal: Appraisal, width: int = 80, *, show_all: bool = False) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_economics(appraisal, ("a note",), show_all, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def run(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(economics)
    monkeypatch.setattr("sys.argv", ["economics", *words])
    return run_command(app)


def test_the_page_says_the_answer_first_and_how_sure_it_is(appraisal: Appraisal) -> None:
    text = page(appraisal, 200)
    first = text.splitlines()[0]
    assert first.startswith("Building costs ")
    assert "do not settle it: building is cheaper in " in first
    order = [
        text.index(words)
        for words in ("What it costs", "Cash flows", "What matters", "What alone makes buying")
    ]
    assert order == sorted(order)
    assert text.index("What to keep in mind") < text.index("The figures that matter most")


@pytest.mark.parametrize("width", [80, 200])
def test_the_page_fits_its_width(width: int, appraisal: Appraisal) -> None:
    text = page(appraisal, width, show_all=True)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "\u2026" not in text  # nothing is cut


def test_the_page_shows_a_claim_as_a_claim_and_the_images_as_a_proxy(appraisal: Appraisal) -> None:
    text = " ".join(page(appraisal).split())
    assert "Detectocorp: 70.00% claimed, not verified" in text
    assert "fast_cnn/flip_crop (run 0123456789ab): 92.00% measured, 9,200 of 10,000" in text
    assert "a proxy" in text
    assert "if the vendor's claim is true" in text
    assert "a note" in text


def test_draws_on_the_other_side_are_not_said_to_confirm_the_central_figures(appraisal: Appraisal) -> None:
    simulated = dataclasses.replace(
        appraisal.monte_carlo, low_usd=-9.0, high_usd=-1.0, probability_build_cheaper=0.01
    )
    other = dataclasses.replace(appraisal, monte_carlo=simulated, is_settled=False, is_contradicted=True)
    words = answer_words(other)
    assert words.startswith("Building costs ")
    assert "The ranges of the figures point the other way: building is cheaper in 1% of the draws." in words


def test_a_claim_about_another_data_set_is_said_to_be_one_in_the_first_sentence() -> None:
    build = make_build(dataset="digits\x1b[2J")
    claim = dataclasses.replace(CLAIM, dataset="cifar10")
    first = answer_words(appraise(build, claim, load_assumptions())).split(". ")[0]
    assert first.endswith(
        "if the vendor's claim is true and, though it is about cifar10, holds on digits?[2J too"
    )
    same = answer_words(appraise(make_build(), claim, load_assumptions())).split(". ")[0]
    assert same.endswith("if the vendor's claim is true")


def test_every_figure_is_shown_with_its_date_and_source_when_asked_for(appraisal: Appraisal) -> None:
    text = " ".join(page(appraisal, 400, show_all=True).split())
    for key in KEYS:
        assert key in text
    entry = appraisal.assumptions["vendor_usd_per_1000_images"]
    assert "vendor_usd_per_1000_images 1.5 [0.6, 3.5] USD per 1,000 images; lognormal; 2026-10-07" in text
    assert entry.source is not None
    assert entry.source in text


def test_bars_lie_on_one_scale_with_a_mark_at_zero(appraisal: Appraisal) -> None:
    text = page(appraisal, 200)
    marks = {line.index("┃") for line in text.splitlines() if "┃" in line and "█" in line}
    assert len(marks) == 1


def test_hostile_names_are_shown_as_they_are_on_one_line() -> None:
    name = "[bold red]x[/]\x1b[31m\nnew line"
    figures = load_assumptions(None, ["label_usd.source=[link=http://x]y[/link]\x07"])
    text = page(appraise(make_build(name=name), BuyFacts(name, 70.0), figures), 200, show_all=True)
    assert "[bold red]x[/]?[31m new line: 70.00% claimed" in text
    assert "[link=http://x]y[/link]?" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_what_nothing_turns_is_said(appraisal: Appraisal) -> None:
    known = [f"{key}={entry.value}" for key, entry in load_assumptions().items()]
    text = page(appraise(make_build(), CLAIM, load_assumptions(None, known)))
    assert "No figure alone turns the decision within its range" in text


def test_the_facts_of_a_run_are_those_of_its_record(make_run: RunFactory, runs: Path) -> None:
    run_dir = make_run(180, measurements={"inference_images_per_s": 321.0, "inference_threads": 1})
    facts = build_facts(load_runs(runs).runs[0])
    assert (facts.num_correct, facts.num_images, facts.accuracy_percent) == (180, 200, 90.0)
    assert (facts.wall_time_s, facts.dataset) == (60.0, "cifar10")
    assert (facts.device_type, facts.num_devices, facts.train_device) == ("cpu", 2, "a processor")
    assert (facts.images_per_s_inference, facts.inference_threads) == (321.0, 1)
    assert facts.total_train_pflop == pytest.approx(0.18)
    assert facts.record_paths == (run_dir / "record.json",)


def test_an_audit_gives_what_was_measured_and_the_price_that_was_stated(
    make_run: RunFactory, runs: Path, tmp_path: Path
) -> None:
    make_run(180)
    [ours] = load_runs(runs).runs
    found = from_run("", None, ours.predictions)
    stored = StoredAudit(
        vendor="a vendor",
        claim_percent=70.0,
        claim_source="its own",
        kind="file",
        source="answers.csv",
        source_sha256="0" * 64,
        images="cifar10",
        test_fingerprint=found.fingerprint,
        labels_sha256="1" * 64,
        num_images=200,
        num_correct=180,
        price_per_1000_images_usd=2.5,
        endpoint=None,
        cheapest_better=None,
        cheapest_better_reason="none",
        num_runs_compared=1,
        num_runs_on_other_images=0,
        same_images_by=None,
        notes=(),
        audited_at="2026-11-20T10:00:00+00:00",
    )
    write_audit(tmp_path / "audit", stored, found)
    buy = choose_vendor(tmp_path / "audit").facts
    assert (buy.name, buy.accuracy_percent, buy.num_correct, buy.num_images) == ("a vendor", 90.0, 180, 200)
    assert (buy.price_per_1000_images_usd, buy.dataset, buy.is_measured) == (2.5, None, True)
    caveats = appraise(build_facts(ours), buy, load_assumptions()).caveats
    assert not any("same test images" in line for line in caveats)
    unknown = dataclasses.replace(buy, test_fingerprint=None)
    caveats = appraise(build_facts(ours), unknown, load_assumptions()).caveats
    assert any("not known that a vendor was measured on the same test images" in line for line in caveats)
    elsewhere = dataclasses.replace(buy, test_fingerprint="2" * 64)
    with pytest.raises(UsageError, match="audit of a vendor is about other images than the run"):
        appraise(build_facts(ours), elsewhere, load_assumptions())


def test_the_command_prints_json(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(180)
    words = [
        str(runs),
        "--json",
        "--set",
        "images_per_year=2e6",
        "--set",
        "label_usd.high=0.5",
        "--seed",
        "7",
    ]
    assert run(*words, monkeypatch=monkeypatch) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert content["assumptions"]["images_per_year"]["value"] == 2e6
    assert content["monte_carlo"]["seed"] == 7
    assert content["build"]["num_correct"] == 180


def test_the_command_prints_the_page(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(180)
    assert run(str(runs), "--show-assumptions", monkeypatch=monkeypatch) == 0
    assert re.match(r"(Building|Buying) costs .* USD less", capsys.readouterr().out)


def test_a_wrong_setting_is_one_line_and_exit_code_2(
    make_run: RunFactory, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(180)
    assert run(str(runs), "--set", "image_per_year=3", monkeypatch=monkeypatch) == EXIT_BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: --set image_per_year: unknown assumption")
    assert captured.err.count("\n") == 1
