"""Images per second of training against timm's own script, on the same folder of images, in turns.

    git clone https://github.com/huggingface/pytorch-image-models       # its train.py is in no package
    python -m benchmarks.timm_script --script pytorch-image-models/train.py --folder photos --model resnet18

`photos/train/<class>/*` and `photos/test/<class>/*` are the images; only the first of each class are
taken. Each side is a command of its own, as a user would start it, with timm's model of that name at
the same image size and batch size, all cores, flips and crops. timm runs twice: as it comes (fp32), and
with `--amp --amp-dtype bfloat16 --channels-last`. The figure is that of the median step, without the
first ones; reading and decoding the files once, which ours does before, is not in it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

from benchmarks.side_by_side import in_turns, speedup
from harness.measure import WARMUP_STEPS
from harness.record import read_record

ROOT = Path(__file__).resolve().parent.parent
STEP_TIME = re.compile(r"Time: ([0-9.]+)s")  # of one step; timm logs it in milliseconds
AMP = ("--amp", "--amp-dtype", "bfloat16", "--channels-last")


def main() -> None:
    """Run both sides in turns and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--script", type=Path, required=True, help="timm's train.py")
    parser.add_argument("--folder", type=Path, required=True, help="with train/<class>/ and test/<class>/")
    parser.add_argument("--model", default="resnet18", help="a model of timm (resnet18)")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2, help="of timm's DataLoader (2)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    for path in (args.script, args.folder / "train", args.folder / "test"):
        if not path.exists():
            parser.error(f"there is no {path}")
    if args.steps <= WARMUP_STEPS or args.rounds < 1:
        parser.error(f"--steps must be {WARMUP_STEPS + 1} or more, --rounds 1 or more")

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        num_classes = _take_images(args, work / "images")
        seconds = in_turns(
            {
                "ours": partial(_ours, args, work),
                "timm, fp32": partial(_theirs, args, work, num_classes, ()),
                "timm, bf16": partial(_theirs, args, work, num_classes, AMP),
            },
            args.rounds,
        )
    for name in seconds:
        print(f"{name:10}  {args.batch_size / median(seconds[name]):8.1f} images/s")
    for name in list(seconds)[1:]:
        print(f"ours is {speedup(seconds[name], seconds['ours'])} times as fast as {name}")


def _take_images(args: argparse.Namespace, target: Path) -> int:
    """Copy as many images as the steps need, as many of each class; the number of classes."""
    classes = sorted(path.name for path in (args.folder / "train").iterdir() if path.is_dir())
    per_class = -(-args.steps * args.batch_size // len(classes))
    for part, num in (("train", per_class), ("test", 10)):
        for name in classes:
            (target / part / name).mkdir(parents=True)
            for path in islice(sorted((args.folder / part / name).iterdir()), num):
                shutil.copy(path, target / part / name)
    return len(classes)


def _ours(args: argparse.Namespace, work: Path) -> float:
    """Seconds of the median step of `harness/run.py`."""
    out = Path(tempfile.mkdtemp(dir=work))
    options = (
        f"--model timm:{args.model} --image-size {args.image_size} --batch-size {args.batch_size} "
        "--epochs 1 --val-fraction 0 --augment flip_crop --precision bf16"
    )
    dataset = f"imagefolder:{work / 'images'}"
    _run([str(ROOT / "harness" / "run.py"), "--dataset", dataset, "--out", str(out), *options.split()])
    (path,) = out.glob("*/record.json")
    record = read_record(path.parent)
    assert record is not None
    assert record.measurements is not None
    assert record.measurements.images_per_s is not None
    return float(args.batch_size / record.measurements.images_per_s)


def _theirs(args: argparse.Namespace, work: Path, num_classes: int, options: tuple[str, ...]) -> float:
    """Seconds of the median step of timm's script."""
    settings = (
        f"--train-split train --val-split= --model {args.model} --num-classes {num_classes} --device cpu "
        f"--input-size 3 {args.image_size} {args.image_size} --batch-size {args.batch_size} "
        f"--workers {args.workers} --epochs 1 --warmup-epochs 0 --log-interval 1"
    )
    folders = ["--data-dir", str(work / "images"), "--output", tempfile.mkdtemp(dir=work)]
    log = _run([str(args.script), *folders, *settings.split(), *options])
    times_s = [float(found) for found in STEP_TIME.findall(log)]
    if len(times_s) <= WARMUP_STEPS:
        sys.exit(f"timm's script logged {len(times_s)} steps: is it of another version? its log:\n{log}")
    return median(times_s[WARMUP_STEPS:])


def _run(command: list[str]) -> str:
    """What a Python script wrote to both outputs; ends this one with it where that one failed."""
    done = subprocess.run(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with exit code {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
