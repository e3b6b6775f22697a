from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.contact_sheet import draw_sheet, main
from harness.corruptions.registry import corrupt
from tests.harness.augment.augment_helpers import photographs


def test_the_sheet_shows_every_corruption_enlarged_without_smoothing() -> None:
    images, indices = photographs(20, 32, 32)[:2], torch.tensor([3, 4])
    sheet = np.array(draw_sheet(images, indices))
    for shown in (
        images,
        corrupt(images, "gaussian_noise", 5, indices),
        corrupt(images, "saturate", 1, indices),
    ):
        pixels = shown[1].permute(1, 2, 0).numpy().repeat(2, axis=0).repeat(2, axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], (1, 64))[:, :, 0]
        rows, columns = np.nonzero((windows == pixels[0, :, 0]).all(axis=-1))
        places = zip(rows, columns, strict=True)
        assert any(np.array_equal(sheet[row : row + 64, left : left + 64], pixels) for row, left in places)


def test_the_command_draws_images_of_the_test_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.contact_sheet.load_cifar10", _fake_loader)
    out = tmp_path / "sheets" / "sheet.png"
    assert main(["--out", str(out), "--images", "3", "--first", "1"]) == 0
    with Image.open(out) as sheet:
        assert f"{out}: {sheet.width}x{sheet.height} pixels, frost: " in capsys.readouterr().out
        assert sheet.height > 19 * 64


@pytest.mark.parametrize(
    "options", [["--images", "0"], ["--images", "5"], ["--first", "4"], ["--first", "-1"]]
)
def test_images_that_are_not_there_are_an_error_of_one_line(
    options: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.contact_sheet.load_cifar10", _fake_loader)
    assert main(["--out", str(tmp_path / "sheet.png"), *options]) == 2
    assert "there are 4 images" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class _Fake:
    """A data set of four test images."""

    def __init__(self) -> None:
        self.test = self
        self.images = photographs(20, 32, 32)[:4].contiguous().numpy()


def _fake_loader(data_dir: Path, allow_unofficial: bool, quiet: bool) -> _Fake:
    return _Fake()
