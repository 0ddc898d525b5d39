import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.errors import OutputError
from torchserve_fire_build.pool.split import Split
from torchserve_fire_build.report.contact_sheet import MOST_SHOWN
from torchserve_fire_build.report.pool_report import COLUMNS, write_split_report
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def split_of(count, flagged):
    which = torch.zeros(count, dtype=torch.bool)
    which[flagged] = True
    return Split(torch.arange(count) % 3, torch.arange(count).double() / 8, which, (0,))


def written(tmp_path, inputs, flagged, description):
    pool = TensorSamples(inputs, description=description)
    split = split_of(len(inputs), flagged)
    write_split_report(split, pool, tmp_path / "report", ["0 cat", "1 dog", "2 cow"].__getitem__)
    return tmp_path / "report"


def test_every_sample_has_a_row(tmp_path):
    inputs = torch.rand(5, 6)
    folder = written(tmp_path, inputs, [1, 4], InputDescription("tensor", (6,)))
    # Vectors are no pictures.
    assert [file.name for file in folder.iterdir()] == ["samples.csv"]
    rows = list(csv.reader(io.StringIO((folder / "samples.csv").read_text())))
    assert rows[0] == list(COLUMNS)
    assert rows[1:] == [
        ["0", "0", "0 cat", "0", "0"],
        ["1", "1", "1 dog", "0.125", "1"],
        ["2", "2", "2 cow", "0.25", "0"],
        ["3", "0", "0 cat", "0.375", "0"],
        ["4", "1", "1 dog", "0.5", "1"],
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_flagged_images_are_shown_as_they_were(tmp_path, channels):
    mean, std = (0.5,) * channels, (0.25,) * channels
    inputs = torch.full((4, channels, 8, 8), -2.0)
    inputs[2, 0] = 2.0
    description = InputDescription("image", (channels, 8, 8), mean, std)
    pixels = np.asarray(
        Image.open(written(tmp_path, inputs, [2], description) / "flagged.png").convert("RGB")
    )
    # Red alone is bright, or the only channel is; -2 is black.
    colour = (255, 255, 255) if channels == 1 else (255, 0, 0)
    black = (pixels == 0).all(-1).mean()
    if channels == 3:
        assert (pixels == colour).all(-1).mean() > 0.02
    assert black < 0.01


def test_a_limited_number_of_samples_is_shown(tmp_path):
    inputs = torch.rand(MOST_SHOWN + 40, 1, 8, 8)
    sizes = []
    for name, flagged in (("all", MOST_SHOWN), ("more", MOST_SHOWN + 40)):
        (tmp_path / name).mkdir()
        folder = written(
            tmp_path / name, inputs, list(range(flagged)), InputDescription("tensor", (1, 8, 8))
        )
        sizes.append(Image.open(folder / "flagged.png").size)
    assert sizes[0] == sizes[1]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    pool = TensorSamples(torch.rand(5, 6))
    (tmp_path / "pool.npz").write_bytes(b"")
    for folder in (tmp_path / "no" / "report", tmp_path / "pool.npz"):
        with pytest.raises(OutputError):
            write_split_report(split_of(5, [1]), pool, folder)
