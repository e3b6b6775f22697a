from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import UsageError
from results.leaderboard.table import print_leaderboard

RunFactory = Callable[..., Path]

PFLOP = 10**15
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def _show(runs: Path, width: int = 200, colour: bool = False) -> str:
    file = io.StringIO()
    print_leaderboard(
        runs,
        Console(file=file, width=width, force_terminal=colour, color_system="standard" if colour else None),
    )
    return file.getvalue()


def _line(shown: str, *parts: str) -> str:
    """The only line of `shown` that holds all `parts`."""
    (line,) = [line for line in shown.splitlines() if all(part in line for part in parts)]
    return line


def _one_line(shown: str) -> str:
    return " ".join(shown.split())


def _make_usual_runs(make_run: RunFactory) -> None:
    for model, num_correct, num_params, flops in (
        ("mlp", 5120, 394_762, PFLOP // 1000),
        ("simple_cnn", 6730, 62_006, PFLOP // 300),
        ("fast_cnn", 9190, 1_972_792, PFLOP // 5),
        ("resnet18", 9460, 11_173_962, 33 * PFLOP),
    ):
        make_run(
            num_correct,
            num_test=10_000,
            cell={"model": model},
            model={"num_params": num_params, "total_train_flops": flops},
        )


def test_a_row_shows_what_was_measured(make_run: RunFactory, runs: Path) -> None:
    _make_usual_runs(make_run)

    cells = re.split(r" {2,}", _line(_show(runs), "fast_cnn", "resident").strip())

    assert cells[:7] == ["1", "fast_cnn", "flip_crop", "bf16", "0", "8", "91.90 [91.3, 92.4]"]
    assert cells[7:10] == ["b ◆", "0.200", "460"]
    assert cells[10:15] == ["1.97M", "0.354", "50.0 s", "8.12k", "1,234 resident"]


def test_cells_below_the_bar_are_ranked_last_and_marked(make_run: RunFactory, runs: Path) -> None:
    _make_usual_runs(make_run)

    ranks = re.findall(r"^ +(\d\*?) +(\w+)", _show(runs), flags=re.MULTILINE)

    assert ranks == [("1", "fast_cnn"), ("2", "resnet18"), ("3*", "mlp"), ("4*", "simple_cnn")]


def test_references_are_unranked_claims_at_the_foot(make_run: RunFactory, runs: Path) -> None:
    _make_usual_runs(make_run)
    shown = _show(runs, width=260)

    assert re.findall(r"^claim +(.*?)  ", shown, flags=re.MULTILINE) == [
        "GPipe",
        "Detectocorp",
        "human, one judgement",
    ]
    assert shown.index("claim  GPipe") > shown.index("simple_cnn")
    gpipe = _line(shown, "claim  GPipe").split()
    assert "99.00" in gpipe
    assert "557M" in gpipe
    vendor = _line(shown, "claim  Detectocorp").split()
    assert set(vendor[2:]) == {"—", "70.00"}
    dim = [line for line in _show(runs, colour=True).splitlines() if "Detectocorp  " in line]
    assert "\x1b[2m" in dim[0]


def test_the_caption_states_the_convention_the_bar_and_the_level(make_run: RunFactory, runs: Path) -> None:
    _make_usual_runs(make_run)
    shown = _one_line(_show(runs))

    assert "1 MAC = 2 FLOPs" in shown
    assert "forward + backward" in shown
    assert "95% Wilson interval lies above 70%, which Detectocorp claims" in shown
    assert "not measured on the 10,000 official" not in shown
    assert "cannot be compared" not in shown


def test_the_sentence_follows_from_the_first_row(make_run: RunFactory, runs: Path) -> None:
    _make_usual_runs(make_run)

    assert (
        "Best value: fast_cnn/flip_crop, 91.9% [91.3, 92.4], 0.200 PFLOP: clears Detectocorp's claimed 70% "
        "and reaches 92.8% of GPipe's accuracy with 0.35% of its parameters."
    ) in _one_line(_show(runs))


def test_the_sentence_says_when_nothing_clears_the_bar(make_run: RunFactory, runs: Path) -> None:
    make_run(7050, num_test=10_000)

    assert "No run clears Detectocorp's claimed 70%; the best value below it: fast_cnn" in _one_line(
        _show(runs)
    )


def test_unofficial_cifar10_says_so(make_run: RunFactory, runs: Path) -> None:
    make_run(
        9190,
        num_test=10_000,
        data={"official": False, "num_train_images": 40_000, "notes": ("a fold of it",)},
    )
    shown = _one_line(_show(runs))

    assert "cifar10 (not official): 40,000 train, 10,000 test images; fingerprint abcdef01" in shown
    assert "not measured on the 10,000 official test images of CIFAR-10" in shown
    assert "a fold of it" in shown
    assert "(claimed for other test images)" in shown


def test_part_of_the_official_test_images_is_not_the_official_test_set(
    make_run: RunFactory, runs: Path
) -> None:
    make_run(919, num_test=1000)

    assert "not measured on the 10,000 official test images" in _one_line(_show(runs))


def test_other_data_are_not_set_against_the_claims(make_run: RunFactory, runs: Path) -> None:
    make_run(350, num_test=360, cell={"dataset": "digits"}, data={"dataset": "digits"})
    shown = _one_line(_show(runs))

    assert "The claims are about CIFAR-10: they cannot be compared" in shown
    assert "of GPipe's accuracy" not in shown
    assert "above the bar of 70%; the claims are about other data." in shown


def test_data_with_different_fingerprints_never_share_a_table(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"seed": 1})
    make_run(cell={"seed": 2}, data={"fingerprint": "0" * 64})
    make_run(cell={"seed": 3}, data={"official": False, "fingerprint": "5" * 64})

    shown = _show(runs)

    titles = re.findall(r"fingerprint (\w+)", shown)
    assert titles == ["00000000", "abcdef01", "55555555"]
    assert [len(re.findall(r" 1 +fast_cnn", part)) for part in shown.split("fingerprint ")[1:]] == [1, 1, 1]


def test_models_that_started_from_weights_have_a_table_of_their_own(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"seed": 1})
    make_run(cell={"seed": 2, "pretrained": "file:/weights.pt"})
    gradual = {"epochs": 2, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0}
    gradual |= {"schedule": "cosine", "tuning": "gradual"}
    make_run(cell={"model": "timm:resnet18d", "pretrained": "hub", "recipe": gradual})

    shown = _show(runs)

    from_scratch, pre_trained = shown.split("; pre-trained")
    assert "; from scratch" in from_scratch
    assert len(re.findall(r" \d +fast_cnn", from_scratch)) == 1
    assert re.search(r" \d +fast_cnn +flip", pre_trained)
    assert re.search(r" \d +timm:resnet18d gradual +flip", pre_trained)
    assert "the compute that made those is not counted" in pre_trained
    assert "not counted" not in from_scratch


@pytest.mark.parametrize("width", [60, 80, 90, 100, 120, 160, 200])
def test_it_fits_into_the_width_and_nothing_is_cut_off(make_run: RunFactory, runs: Path, width: int) -> None:
    _make_usual_runs(make_run)
    make_run(9100, num_test=10_000, cell={"strategy": "ddp", "num_processes": 2, "augmentation": "cutout"})

    shown = _show(runs, width)

    assert max(len(line) for line in shown.splitlines()) <= width
    assert "…" not in shown
    assert "91.90 [91.3, 92.4]" in shown


def test_less_important_columns_give_way_as_the_width_shrinks(make_run: RunFactory, runs: Path) -> None:
    _make_usual_runs(make_run)
    names = ["model", "prec.", "seed", "params", "peak memory", "cell"]

    shown_at = {
        width: [name for name in names if name in _show(runs, width).split("───")[0]]
        for width in (70, 80, 200)
    }

    assert shown_at == {70: names[:1], 80: names[:2], 200: names}


def test_text_from_runs_is_neither_markup_nor_a_terminal_command(
    make_run: RunFactory, make_failed_run: RunFactory, runs: Path
) -> None:
    make_run(
        cell={"dataset": "imagefolder:/data/[bold]pets[/bold]\x1b[31m"},
        data={"dataset": "imagefolder", "official": False},
    )
    make_failed_run("expected [/red] after [red]\x1b[2J")

    shown = _show(runs, colour=True)

    plain = ESCAPES.sub("", shown)
    assert "imagefolder:/data/[bold]pets[/bold]?[31m (not official)" in plain
    assert "expected [/red] after [red]?[2J" in plain
    assert "\x1b[2J" not in shown
    assert "\x1b[31m" not in shown


def test_failed_unfinished_and_untrusted_runs_are_listed(
    make_run: RunFactory, make_failed_run: RunFactory, runs: Path
) -> None:
    make_run()
    make_failed_run("the loss of step 17\nis nan: try a lower learning rate", seed=1)
    make_failed_run("no memory " * 200, kind="out_of_memory", seed=2)
    damaged = make_run(cell={"seed": 3}) / "predictions.npz"
    damaged.write_bytes(b"")
    (runs / "unfinished").mkdir()
    (runs / "unfinished" / "cell.json").write_text("{}")

    shown = _show(runs, width=80)

    assert "Failed runs: 2" in shown
    assert "diverged: the loss of step 17 is nan: try a lower learning rate" in _line(shown, "seed 1")
    assert len(_line(shown, "out_of_memory")) < 400
    assert "Unfinished runs, without a record yet: 1" in shown
    assert f"left out: {damaged}: cannot be read" in shown


def test_what_a_budget_stopped_is_not_called_a_failure(
    make_run: RunFactory, make_failed_run: RunFactory, runs: Path
) -> None:
    make_run()
    make_failed_run(seed=1)
    for seed in (2, 3, 4):
        make_failed_run("stopped after epoch 1 of 9", kind="pruned", seed=seed)
    shown = _show(runs)
    assert "Failed runs: 1" in shown
    assert "Stopped early by a budget: 3" in shown
    assert "stopped after epoch" not in shown


def test_nothing_to_rank_is_said(make_failed_run: RunFactory, runs: Path) -> None:
    make_failed_run()
    shown = _show(runs)

    assert "No finished run to rank yet." in shown
    assert "Failed runs: 1" in shown
    assert "claim" not in shown


def test_a_missing_measurement_is_a_dash(make_run: RunFactory, runs: Path) -> None:
    make_run(measurements={"images_per_s": None, "peak_resident_mib": None})

    cells = re.split(r" {2,}", _line(_show(runs), "fast_cnn", "bf16").strip())

    assert cells[13:15] == ["—", "—"]


@pytest.mark.parametrize(
    ("train_time_s", "shown"), [(9.99, "10.0 s"), (99.9, "99.9 s"), (150, "2.5 min"), (7200, "2.0 h")]
)
def test_train_time_is_given_in_a_fitting_unit(
    make_run: RunFactory, runs: Path, train_time_s: float, shown: str
) -> None:
    make_run(measurements={"train_time_s": train_time_s})

    assert f" {shown} " in _line(_show(runs), "fast_cnn", "bf16")


@pytest.mark.parametrize(
    ("num_params", "shown"),
    [
        (650, "650"),
        (999, "999"),
        (9996, "10.0k"),
        (272_474, "272k"),
        (999_600, "1.00M"),
        (557 * 10**10, "5.57T"),
    ],
)
def test_numbers_have_three_digits_and_a_suffix(
    make_run: RunFactory, runs: Path, num_params: int, shown: str
) -> None:
    make_run(model={"num_params": num_params})

    assert f" {shown} " in _line(_show(runs), "fast_cnn", "bf16")


def test_a_folder_without_runs_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        _show(tmp_path)


def test_a_run_whose_memory_ran_out_is_marked(make_run: RunFactory, runs: Path) -> None:
    make_run(cell={"model": "mlp"})
    make_run(cell={"model": "resnet18"}, in_effect={"accumulation_steps": 4})

    shown = _show(runs)

    assert "resnet18†" in shown
    assert "mlp†" not in shown
    assert "†: memory ran out, and each batch was taken in more, smaller parts." in _one_line(shown)


def test_a_strategy_that_is_not_the_usual_one_stands_beside_the_precision(
    make_run: RunFactory, runs: Path
) -> None:
    make_run(cell={"model": "mlp", "strategy": "ddp", "num_processes": 2})
    make_run(cell={"model": "resnet18", "strategy": "fsdp", "num_processes": 2})

    shown = _show(runs)

    assert " bf16×2 " in _line(shown, "mlp", "resident")
    assert " bf16 fsdp×2 " in _line(shown, "resnet18", "resident")
