"""The command as a user calls it, from the first option to the files and the page."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from rich.cells import cell_len
from rich.console import Console
from scipy.stats import binomtest
from typer.testing import CliRunner

from harness.errors import DataError, UsageError
from results.audit.command import audit
from results.audit.conduct import Subject, claim_of
from results.audit.images import AskedImages, load_test_images
from results.audit.journal import JOURNAL
from results.audit.page import print_audit
from results.audit.result import AUDIT, PREDICTIONS, read_audit
from results.compare.paired import mcnemar_exact
from results.figures import figures_of
from results.metrics import Array, share_of
from results.predictions import read_prediction_set
from tests.results.audit.vendor_server import Predictions, Raw, Seen, serving

RunFactory = Callable[..., Path]

APP = typer.Typer(pretty_exceptions_enable=False)
APP.command()(audit)

COMMAND = (
    "import sys, typer; from harness.console import run_command; from results.audit.command import audit; "
    "app = typer.Typer(); app.command()(audit); sys.exit(run_command(app))"
)
DIGITS = ("--dataset", "digits", "--image-size", "8")


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def digits() -> AskedImages:
    return load_test_images("digits", Path("data"), 8, allow_unofficial=False)


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    """The labels of the runs of `make_run`: 200 images of three classes."""
    np.save(tmp_path / "labels.npy", np.arange(200) % 3)
    return tmp_path / "labels.npy"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """120 of 200 images right: the first ones, as in runs."""
    return _file(tmp_path / "theirs.json", _classes(120))


def _classes(num_correct: int) -> Array:
    labels = np.arange(200) % 3
    return np.where(np.arange(200) < num_correct, labels, (labels + 1) % 3)


def _other_classes(num_correct: int) -> Array:
    labels = np.arange(200) % 3
    return np.where(np.arange(200) >= 200 - num_correct, labels, (labels + 1) % 3)


def _file(path: Path, classes: Array) -> Path:
    path.write_text(json.dumps(classes.tolist()))
    return path


PUBLISHED = {
    "alexnet_tf_ben.json": 8198,
    "cudaconvnet.json": 8854,
    "densenet_BC_100_12.json": 9554,
    "random_features_32k_no_aug.json": 8331,
    "resnet_basic_32.json": 9252,
    "wrn_28_10.json": 9593,
    "vgg_15_BN_64.npz": 9318,
    "resnet_basic_110.npz": 9406,
}


@pytest.mark.parametrize(("name", "num_correct"), PUBLISHED.items())
def test_published_predictions_are_scored_to_the_image(
    shared_data: Path, tmp_path: Path, name: str, num_correct: int
) -> None:
    folder = shared_data / "predictions"
    labels = folder / "cifar10_test_labels.npy"
    _run("detectocorp", "--predictions", folder / name, "--labels", labels, "--out", tmp_path / "a")

    found = read_audit(tmp_path / "a")
    assert (found.accuracy.count, found.accuracy.n) == (num_correct, 10_000)
    assert found.accuracy == share_of(num_correct, 10_000)
    # 70% is what Detectocorp claims.
    assert found.claim is not None
    assert found.claim.p_value == pytest.approx(binomtest(num_correct, 10_000, 0.7).pvalue, rel=1e-9)
    assert found.claim.direction == "better than claimed"
    expected = figures_of(read_prediction_set(folder / name, labels if name.endswith("json") else None))
    assert found.figures.calibration == expected.calibration
    assert np.array_equal(found.figures.confusion, expected.confusion)
    assert found.weak_classes[0].name == "3"  # cats are the hardest for every model


def test_the_cheapest_run_that_is_significantly_better_is_found(
    make_run: RunFactory, runs: Path, labels_file: Path, theirs: Path, tmp_path: Path
) -> None:
    cheap_but_equal = make_run(122, cell={"seed": 1}, model={"total_train_flops": 10**12})
    better = make_run(150, cell={"seed": 2}, model={"total_train_flops": 2 * 10**15})
    make_run(180, cell={"seed": 3}, model={"total_train_flops": 3 * 10**15})
    make_run(90, cell={"seed": 4}, model={"total_train_flops": 10**11})

    _run("Acme", "--predictions", theirs, "--labels", labels_file, "--runs", runs, "--out", tmp_path / "a")

    found = read_audit(tmp_path / "a")
    run = found.cheapest_better
    assert run is not None
    assert run.cell_id == better.name != cheap_but_equal.name
    assert (run.comparison.only_a, run.comparison.only_b) == (30, 0)
    assert run.comparison.p_value == mcnemar_exact(30, 0)
    # The p-values of the other runs: 60 and 30 discordant images on one side, and 2.
    assert run.adjusted_p_value == 3 * mcnemar_exact(30, 0)
    assert run.total_train_pflop == 2
    assert run.train_time_s == 50
    assert found.stored.num_runs_compared == 4
    assert found.stored.same_images_by == "equal labels, in equal order"


def test_holm_over_all_runs_is_what_decides(
    make_run: RunFactory, runs: Path, labels_file: Path, theirs: Path, tmp_path: Path
) -> None:
    assert mcnemar_exact(6, 0) < 0.05 < 2 * mcnemar_exact(6, 0)
    make_run(126, cell={"seed": 1})
    arguments = ("--predictions", theirs, "--labels", labels_file, "--runs", runs, "--out", tmp_path / "a")
    _run("Acme", *arguments)
    alone = read_audit(tmp_path / "a").cheapest_better
    make_run(120, cell={"seed": 2})
    page = _run("Acme", *arguments)

    assert alone is not None
    assert read_audit(tmp_path / "a").cheapest_better is None
    assert "none of 2 run(s) of ours is significantly better on these images" in " ".join(page.split())


def test_runs_on_other_test_images_are_left_out(
    make_run: RunFactory, runs: Path, labels_file: Path, theirs: Path, tmp_path: Path
) -> None:
    make_run(180, num_test=150)
    page = _run(
        "A", "--predictions", theirs, "--labels", labels_file, "--runs", runs, "--out", tmp_path / "a"
    )

    found = read_audit(tmp_path / "a")
    assert found.cheapest_better is None
    assert found.stored.cheapest_better_reason == "no run of ours was scored on the same test images"
    assert found.stored.num_runs_on_other_images == 1
    assert "1 run(s) on other test images" in page


def test_a_run_is_compared_only_where_the_fingerprint_of_the_images_agrees(
    make_run: RunFactory, runs: Path, digits: AskedImages, tmp_path: Path
) -> None:
    count, names = len(digits.labels), digits.class_names
    theirs = _file(tmp_path / "theirs.json", np.zeros(count, np.int64))
    logits = np.eye(10, dtype=np.float32)[digits.labels]
    arrays = {
        "test_logits": logits,
        "test_labels": digits.labels,
        "val_logits": logits[:40],
        "val_labels": digits.labels[:40],
    }
    assert digits.test_fingerprint is not None
    for seed, fingerprint in enumerate((digits.test_fingerprint, "0" * 64)):
        data = {"class_names": names, "test_fingerprint": fingerprint}
        make_run(num_test=count, cell={"seed": seed}, data=data, arrays=arrays)

    _run("A", "--predictions", theirs, *DIGITS, "--runs", runs, "--out", tmp_path / "a")

    stored = read_audit(tmp_path / "a").stored
    assert stored.test_fingerprint == digits.test_fingerprint
    assert (stored.num_runs_compared, stored.num_runs_on_other_images) == (1, 1)
    assert stored.same_images_by == "the fingerprint of the images"
    assert stored.cheapest_better is not None


def test_an_endpoint_is_audited_with_its_latency_and_price(digits: AskedImages, tmp_path: Path) -> None:
    def some_errors(seen: Seen, predictions: Predictions) -> Raw | Predictions:
        return Raw(b"", 503, {"Retry-After": "0"}) if seen.number == 2 else predictions[::-1]

    out = tmp_path / "a"
    with serving(digits, some_errors) as vendor:
        arguments = ("--endpoint", vendor.url, *DIGITS, "--out", out, "--price-per-1000", 2.5, "--claim", 90)
        page = _run("Acme", *arguments, "--batch-size", 50)
        content = json.loads(_run("Acme", *arguments, "--json"))

    num_images = len(digits.labels)
    num_correct = int((vendor.expected == digits.labels).sum())
    assert content["accuracy"]["count"] == num_correct
    assert content["claim"] == {
        "consistent": True,
        "direction": "as claimed",
        "p_value": pytest.approx(binomtest(num_correct, num_images, 0.9).pvalue, rel=1e-9),
    }
    facts = content["stored"]["endpoint"]
    assert (facts["num_requests"], facts["num_again"], facts["num_changed"]) == (8, 50, 0)
    assert facts["failures"] == {"status 503": 1}
    assert content["price_usd"] == pytest.approx(2.5 * num_images / 1000)
    assert content["billed_usd"] == pytest.approx(2.5 * (num_images + 50) / 1000)
    assert content["figures"]["calibration"] is not None
    for part in ("1 × status 503", "p99", "50 images, 0.00% [0.00, 7.13] changed their class", "at $2.5"):
        assert part in page
    assert read_prediction_set(out).fingerprint == digits.test_fingerprint


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 240 small images of two classes, half of them test images."""
    generator = np.random.default_rng(3)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for number in range(60):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{number:03}.png")
    return tmp_path / "photos"


def test_a_killed_audit_sends_no_more_again_than_what_was_under_way(photos: Path, tmp_path: Path) -> None:
    asked = load_test_images(f"imagefolder:{photos}", Path("data"), 8, allow_unofficial=False)
    out, batch_size, concurrency = tmp_path / "a", 4, 3
    killed = threading.Event()

    def stuck(seen: Seen, predictions: Predictions) -> None:
        if seen.number >= 12:
            killed.wait(60)

    with serving(asked, stuck) as vendor:
        command = [
            *(sys.executable, "-c", COMMAND, "Acme", "--endpoint", vendor.url, "--out", str(out)),
            *("--dataset", asked.source, "--image-size", "8", "--canary", "5"),
            *("--batch-size", str(batch_size), "--concurrency", str(concurrency)),
        ]
        environment = os.environ | {"ACME_KEY": "sk-secret"}
        first = subprocess.Popen([*command, "--key-env", "ACME_KEY"], env=environment, stderr=subprocess.PIPE)
        while len(vendor.seen) < 12 + concurrency and first.poll() is None:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        assert first.stderr is not None
        first.stderr.close()
        killed.set()
        assert not (out / AUDIT).exists()
        second = subprocess.run(
            [*command, "--key-env", "ACME_KEY"], env=environment, capture_output=True, text=True, check=True
        )

    times_sent = Counter(name for seen in vendor.seen for name in seen.ids)
    assert len(times_sent) == len(asked.labels) + 5
    assert sum(times_sent.values()) - len(times_sent) == batch_size * concurrency
    found = read_audit(out)
    assert np.array_equal(found.predictions.classes, vendor.expected)
    assert found.stored.endpoint is not None
    assert found.stored.endpoint.num_changed == 0
    assert {seen.authorization for seen in vendor.seen} == {"Bearer sk-secret"}
    written = b"".join(path.read_bytes() for path in out.iterdir())
    assert b"sk-secret" not in written + second.stdout.encode() + second.stderr.encode()


@pytest.mark.parametrize("width", [80, 200])
def test_the_page_fits_and_hostile_names_are_shown_as_they_are(
    make_run: RunFactory, runs: Path, theirs: Path, labels_file: Path, tmp_path: Path, width: int
) -> None:
    make_run(180)
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n[bold]ship[/bold]\n")
    vendor = "=HYPERLINK(evil) [red]Acme[/red] <script>"
    arguments = ("--labels", labels_file, "--class-names", names, "--runs", runs, "--out", tmp_path / "a")
    # Every image of the third class wrong.
    classes = np.where(np.arange(200) % 3 == 2, 0, np.arange(200) % 3)
    _run(vendor, "--predictions", _file(theirs, classes), *arguments, "--claim", 99, "--price-per-1000", 1)

    file = io.StringIO()
    print_audit(read_audit(tmp_path / "a"), Console(file=file, width=width))
    page = file.getvalue()
    assert max(cell_len(line.rstrip()) for line in page.splitlines()) <= width
    for part in (
        f"Audit of {vendor}",
        "[bold]ship[/bold]",
        "67.00%",
        "worse than claimed",
        "calibration",
        "only the predicted classes are known",
        "exact McNemar p < 0.0001",
        "0.18 PFLOP, 50.0 s",
        "$0.20 at $1 per 1,000 images",
    ):
        assert " ".join(part.split()) in " ".join(page.split())


def test_a_claim_is_known_for_detectocorp_alone_and_only_on_its_data(
    labels_file: Path, theirs: Path, digits: AskedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--predictions", theirs, "--labels", labels_file)
    other = _run("DetectoCorp", *arguments, "--out", tmp_path / "other")
    assert "its known claim is about cifar10, not these images: give one with --claim" in " ".join(
        other.split()
    )
    of_labels = read_audit(tmp_path / "other").stored.labels_sha256
    monkeypatch.setattr("results.audit.conduct.CIFAR10_TEST_LABELS_SHA256", of_labels)
    _run("DetectoCorp", *arguments, "--out", tmp_path / "a")
    _run("Acme", *arguments, "--out", tmp_path / "b")
    zeros = _file(tmp_path / "zeros.json", np.zeros(len(digits.labels), np.int64))
    page = _run("Detectocorp", "--predictions", zeros, *DIGITS, "--out", tmp_path / "c")

    known = read_audit(tmp_path / "a")
    assert known.stored.claim_percent == 70
    assert known.claim is not None
    assert known.claim.direction == "worse than claimed"
    assert known.claim.p_value == pytest.approx(binomtest(120, 200, 0.7).pvalue, rel=1e-9)
    assert read_audit(tmp_path / "b").claim is None
    assert read_audit(tmp_path / "c").claim is None
    assert "its known claim is about cifar10" in page


def test_a_folder_keeps_one_audit(labels_file: Path, theirs: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    _run("Acme", "--predictions", theirs, "--labels", labels_file, "--out", out)
    before = (out / AUDIT).read_bytes()
    np.save(tmp_path / "other.npy", (np.arange(200) + 1) % 3)

    with pytest.raises(UsageError, match="holds an audit of 'Acme': choose another folder"):
        _run("Other", "--predictions", theirs, "--labels", labels_file, "--out", out)
    with pytest.raises(UsageError, match="of the same vendor on other test images"):
        _run("Acme", "--predictions", theirs, "--labels", tmp_path / "other.npy", "--out", out)
    with pytest.raises(UsageError, match="of the same vendor by file"):
        _run("Acme", "--endpoint", "http://127.0.0.1:1/", *DIGITS, "--out", out)
    assert (out / AUDIT).read_bytes() == before
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / JOURNAL).touch()
    with pytest.raises(UsageError, match="holds an audit of an endpoint"):
        _run("Acme", "--predictions", theirs, "--labels", labels_file, "--out", tmp_path / "b")
    result = CliRunner().invoke(
        APP,
        [
            *("Acme", "--predictions", str(_file(theirs, _classes(121)))),
            *("--labels", str(labels_file), "--out", str(out)),
        ],
    )
    assert "replaces the audit of 'theirs.json'" in result.stderr
    assert read_audit(out).accuracy.count == 121


def test_the_files_of_others_are_never_replaced(
    make_run: RunFactory, labels_file: Path, theirs: Path, digits: AskedImages
) -> None:
    run_dir = make_run(180)
    before = {path: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}

    with pytest.raises(UsageError, match="is no folder of an audit, but holds"):
        _run("Acme", "--predictions", theirs, "--labels", labels_file, "--out", run_dir)
    with serving(digits) as vendor, pytest.raises(UsageError, match="is no folder of an audit, but holds"):
        _run("Acme", "--endpoint", vendor.url, *DIGITS, "--out", run_dir)

    assert vendor.seen == []
    assert {path: path.read_bytes() for path in run_dir.iterdir() if path.is_file()} == before


def test_a_known_claim_about_unofficial_images_is_kept_with_a_note(digits: AskedImages) -> None:
    unofficial = replace(digits, source="cifar10", official=False)

    percent, _, notes = claim_of(Subject("Detectocorp", None, None), unofficial)

    assert percent == 70
    assert notes == ("the claim is about the published test images: these are others",)
    assert claim_of(Subject("Detectocorp", None, None), replace(unofficial, official=True))[2] == ()


def test_a_stated_class_is_kept_where_probabilities_are_equal(labels_file: Path, tmp_path: Path) -> None:
    answers = [{"class": int(index), "probs": [0.4, 0.4, 0.2]} for index in np.arange(200) % 2]
    (tmp_path / "theirs.json").write_text(json.dumps(answers))

    _run("Acme", "--predictions", tmp_path / "theirs.json", "--labels", labels_file, "--out", tmp_path / "a")

    assert read_audit(tmp_path / "a").predictions.classes.tolist() == (np.arange(200) % 2).tolist()


def test_nothing_is_written_where_a_file_is_refused(labels_file: Path, theirs: Path, tmp_path: Path) -> None:
    _file(theirs, _classes(100)[:199])
    with pytest.raises(DataError, match="199 answers for 200 test images"):
        _run("Acme", "--predictions", theirs, "--labels", labels_file, "--out", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_default_folder_is_named_after_the_vendor(
    labels_file: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _run("../Acme & Söhne", "--predictions", theirs, "--labels", labels_file)
    assert read_audit(Path("audits/acme_s_hne")).vendor == "../Acme & Söhne"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Acme",), "--predictions FILE, or --endpoint URL"),
        (
            ("Acme", "--predictions", "a.csv", "--endpoint", "http://a/"),
            "--predictions FILE, or --endpoint URL",
        ),
        (("Acme", "--predictions", "a.csv"), "--dataset cifar10, or --labels FILE.npy"),
        (("Acme", "--predictions", "a.csv", "--key-env", "HOME", *DIGITS), "a file needs no key"),
        (("Acme", "--endpoint", "http://a/", "--labels", "l.npy"), "give --dataset instead of --labels"),
        (("Acme", "--endpoint", "http://a/", "--names", "n.txt", *DIGITS), "--names is for --predictions"),
        (("Acme", "--endpoint", "https://a/", "--key-env", "sk-1", *DIGITS), "no such environment variable"),
        (("Acme", "--predictions", "a.xlsx", *DIGITS), "cannot read 'a.xlsx'"),
        (("Acme", "--predictions", "a.csv", *DIGITS), "cannot read 'a.csv': No such file"),
        (("Acme", "--predictions", "a.csv", *DIGITS, "--class-names", "c"), "names its own classes"),
        (("Acme", "--predictions", "a.csv", "--dataset", "cifar100"), "unknown dataset 'cifar100'"),
        (("Acme", "--predictions", "a.csv", "--labels", "l.npy"), "cannot read 'l.npy'"),
        (("Acme", "--predictions", "a.csv", *DIGITS, "--timeout", "inf"), "--timeout: expected a finite"),
        (("Acme", "--endpoint", "http://a/", *DIGITS, "--rate", "inf"), "--rate: expected a finite number"),
        (("Acme", "--predictions", "a.csv", *DIGITS, "--claim", "0.7"), "expected percent, such as 70"),
        (("Acme", "--endpoint", "http://a/", *DIGITS, "--runs", "r"), "cannot read runs from 'r'"),
        (("a\nb", "--predictions", "a.csv", *DIGITS, "--out", "o"), "printable characters"),
        (("...", "--predictions", "a.csv", *DIGITS), "a name with a letter"),
        (("a\nb", "--predictions", "a.csv", *DIGITS), "printable characters"),
    ],
)
def test_options_that_cannot_work_are_one_clear_error(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        _run(*arguments)
    assert message in str(caught.value)
    assert "sk-1" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_audit_is_refused(labels_file: Path, theirs: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    with pytest.raises(UsageError, match="no audit in"):
        read_audit(out)
    again = ("--labels", labels_file)
    _run("Acme", "--predictions", theirs, *again, "--out", out)
    whole, arrays = (out / AUDIT).read_bytes(), (out / PREDICTIONS).read_bytes()

    for content, message in (
        (whole[:100], "Invalid JSON"),
        (whole.replace(b'"version": 1', b'"version": 2'), "version"),
        (whole.replace(b'"num_correct": 120', b'"num_correct": 190'), "does not belong to audit.json"),
        (whole.replace(b'"kind": "file"', b'"kind": "guess"'), "kind"),
    ):
        (out / AUDIT).write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_audit(out)
    (out / AUDIT).write_bytes(whole)
    # As many images right, but others.
    _run("Acme", "--predictions", _file(theirs, _other_classes(120)), *again, "--out", tmp_path / "b")
    (out / PREDICTIONS).write_bytes((tmp_path / "b" / PREDICTIONS).read_bytes())
    with pytest.raises(DataError, match=r"does not belong to audit\.json"):
        read_audit(out)
    (out / PREDICTIONS).write_bytes(arrays[:200])
    with pytest.raises(DataError, match=PREDICTIONS):
        read_audit(out)
    (out / PREDICTIONS).unlink()
    with pytest.raises(DataError, match="is missing"):
        read_audit(out)
