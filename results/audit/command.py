"""Is a vendor as good as it says, and is a run of ours better? `python -m results audit VENDOR ...`.

python -m results audit detectocorp --predictions theirs.csv --dataset cifar10 --runs runs/
python -m results audit wrn --predictions wrn_28_10.json --labels cifar10_test_labels.npy --claim 95.9
python -m results audit acme --endpoint https://acme.example/v1 --dataset cifar10 --key-env ACME_KEY
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import UsageError

if TYPE_CHECKING:
    from results.audit.conduct import FromEndpoint, FromFile
    from results.audit.endpoint import Asking

DEFAULT_IMAGE_SIZE = 32


def _path(name: str, words: str, metavar: str = "FILE") -> object:
    return typer.Option(name, metavar=metavar, help=words, show_default=False)


def audit(
    vendor: Annotated[str, typer.Argument(metavar="VENDOR", help="Name of the vendor.", show_default=False)],
    predictions: Annotated[
        Path | None, _path("--predictions", "What it predicted: .csv, .json, .npy or .npz.")
    ] = None,
    names: Annotated[
        Path | None, _path("--names", "How that file calls the images, one a line, in data set order.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="Where it answers.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="Test images: cifar10, digits or imagefolder:PATH."),
    ] = None,
    data_dir: Annotated[Path, _path("--data-dir", "Where CIFAR-10 is, or is put (data/).", "DIR")] = Path(
        "data"
    ),
    image_size: Annotated[
        int, typer.Option("--image-size", min=1, help="Height and width of digits and image folders.")
    ] = DEFAULT_IMAGE_SIZE,
    allow_unofficial_data: Annotated[
        bool, typer.Option("--allow-unofficial-data", help="Accept CIFAR-10 files that differ.")
    ] = False,
    labels: Annotated[
        Path | None, _path("--labels", "True classes, .npy, where images are not here.")
    ] = None,
    class_names: Annotated[
        Path | None, _path("--class-names", "With --labels: the names of the classes, one a line.")
    ] = None,
    claim: Annotated[
        float | None,
        typer.Option(
            "--claim", metavar="PERCENT", min=0, max=100, help="Its claim (Detectocorp's is known)."
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--price-per-1000", metavar="USD", min=0, help="What it asks for 1,000 images."),
    ] = None,
    runs: Annotated[Path | None, _path("--runs", "Our runs, to find one that is better.", "RUNS")] = None,
    out: Annotated[Path | None, _path("--out", "Folder of the audit (audits/VENDOR).", "FOLDER")] = None,
    key_env: Annotated[
        str | None, typer.Option("--key-env", metavar="NAME", help="Environment variable with the API key.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, max=1024, help="Images a request.")] = 64,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Requests at once.")] = 4,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", min=0.001, help="Requests a second, at most.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0.01, help="Seconds for an answer.")
    ] = 30.0,
    retries: Annotated[int, typer.Option("--retries", min=0, max=100, help="Further tries a request.")] = 8,
    canary: Annotated[
        int, typer.Option("--canary", min=0, help="Images sent again, to see if answers are steady.")
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
) -> None:
    """Score a vendor as our own runs are scored: from a file of predictions, or from its endpoint.

    An audit of an endpoint that was interrupted goes on when it is called again.

    Example: python -m results audit detectocorp --predictions theirs.csv --dataset cifar10 --runs runs/
    """
    # Loaded here so that the other commands do not wait for them.
    from rich.console import Console

    from results.audit.client import Patience
    from results.audit.conduct import Subject, conduct, folder_of
    from results.audit.endpoint import Asking
    from results.audit.images import choose_images
    from results.audit.page import audit_json, print_audit
    from results.audit.result import read_stored
    from results.store import one_line

    _check_numbers(claim=claim, price_per_1000=price, rate=rate, timeout=timeout)
    folder = folder_of(vendor, out)
    asking = Asking(batch_size, concurrency, canary, Patience(timeout, retries, rate))
    origin = _origin(predictions, names, endpoint, key_env, asking)
    if endpoint is not None and labels is not None:
        raise UsageError("--endpoint needs the test images themselves: give --dataset instead of --labels")
    asked = choose_images(dataset, data_dir, image_size, allow_unofficial_data, labels, class_names)
    replaced = None if predictions is None else read_stored(folder)
    found = conduct(Subject(vendor, claim, price), asked, origin, runs, folder)
    if replaced is not None:
        words = f"replaces the audit of '{one_line(replaced.source)}' of {one_line(replaced.audited_at)}"
        typer.echo(f"{words} in {folder}", err=True)
    if as_json:
        typer.echo(audit_json(found))
    else:
        print_audit(found, Console())


def _check_numbers(**options: float | None) -> None:
    for name, value in options.items():
        if value is not None and not math.isfinite(value):
            raise UsageError(f"--{name.replace('_', '-')}: expected a finite number, not {value}")
    claim = options["claim"]
    if claim is not None and 0 < claim <= 1:
        raise UsageError(f"--claim {claim:g}: expected percent, such as 70 for 70%")


def _origin(
    predictions: Path | None, names: Path | None, endpoint: str | None, key_env: str | None, asking: Asking
) -> FromFile | FromEndpoint:
    from results.audit.address import Address
    from results.audit.conduct import FromEndpoint, FromFile, read_key

    if (predictions is None) == (endpoint is None):
        raise UsageError("say where the vendor's answers come from: --predictions FILE, or --endpoint URL")
    if predictions is not None:
        if key_env is not None:
            raise UsageError("--key-env is for --endpoint: a file needs no key")
        return FromFile(predictions, names)
    assert endpoint is not None
    if names is not None:
        raise UsageError("--names is for --predictions: an endpoint answers by the ids that it is sent")
    return FromEndpoint(Address.of(endpoint, read_key(key_env)), asking)
