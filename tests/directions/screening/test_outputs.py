import csv
import io

import pytest
import torch
from PIL import Image

from tests.benchmarks.hand_made import bundle
from tests.directions.messages import one_line
from tests.directions.screening.made_features import made, seeded
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.tensor_samples import TensorSamples
from torchserve_fire_build.screening import outputs
from torchserve_fire_build.screening.bundle_screening import BundleScreening, SampleVerdict
from torchserve_fire_build.screening.outputs import check_sheet, to_csv, to_sheet
from torchserve_fire_build.screening.screening import screen_features

NAMES = ["a.png", "b.png"]


def screened():
    generator = seeded(0)
    return screen_features(made([0] * 30, generator), made([0, 5], generator), NAMES)


def with_bundle():
    verdicts = [SampleVerdict(0, 1, True, 0, 2.0), SampleVerdict(1, 1, False, 0, None)]
    return BundleScreening(NAMES, verdicts, bundle().repairs)


@pytest.mark.parametrize("found", [screened, with_bundle])
def test_every_picture_has_a_row(found):
    rows = list(csv.DictReader(io.StringIO(to_csv(found()).decode())))
    assert [row["path"] for row in rows] == NAMES
    assert list(rows[0]) == list(found().rows()[0])


def test_what_is_not_known_is_empty():
    _, row = csv.DictReader(io.StringIO(to_csv(screened()).decode()))
    assert (row["predicted"], row["chance"], row["layer"]) == ("5", "", "")


@pytest.mark.parametrize("found", [screened, with_bundle])
def test_the_sheet_shows_the_pictures(found):
    # A third picture, a copy of another, was left out of what was screened.
    pictures = TensorSamples(torch.rand(3, 3, 8, 8), names=["copy.png", *NAMES])
    sheet = Image.open(io.BytesIO(to_sheet(found(), pictures)))
    assert sheet.format == "PNG"
    assert sheet.width > sheet.height > 100


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/far/away/a.png", "a.png"),
        ("/far/complaint-about-a-ship-000.jpg", "complain…p-000.jpg"),
    ],
)
def test_a_caption_is_no_wider_than_its_picture(name, shown, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        outputs, "contact_sheet", lambda _, __, captions, ___: drawn.append(captions)
    )
    verdict = SampleVerdict(0, 1, True, 0, 2.0)
    pictures = TensorSamples(torch.rand(1, 3, 8, 8), names=[name])
    to_sheet(BundleScreening([name], [verdict], bundle().repairs), pictures)
    caption = drawn[0][0].splitlines()[0]
    assert caption == shown
    assert len(caption) <= outputs.MOST_LETTERS


def test_what_is_no_image_is_not_drawn():
    with pytest.raises(SamplesError) as caught:
        check_sheet(TensorSamples(torch.rand(3, 8)))
    one_line(caught, "samples of shape (8,) cannot be drawn", "leave out --sheet")
