import logging

import pytest
import torch
from torch import nn

from tests.directions.messages import one_line
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.measure.fit_to_model import check_clean, check_fit, find_misfit
from torchserve_fire_build.samples.predict import logits_of
from torchserve_fire_build.samples.tensor_samples import TensorSamples

PLAIN = ((0.0,) * 3, (1.0,) * 3)
HALF = ((0.5,) * 3, (0.5,) * 3)


class Brightness(nn.Module):
    """Tells how red an image is, from 0 to 1, in ten steps; it takes images from -1 to 1."""

    def __init__(self, sharpness=400.0):
        super().__init__()
        self.sharpness = sharpness

    def forward(self, images):
        red = (images[:, :1].mean((1, 2, 3))[:, None] + 1) / 2
        steps = (torch.arange(10) + 0.5) / 10
        return -self.sharpness * (red - steps) ** 2


MODEL = Brightness().eval()


def images(settings, count=100, *, blue_first=False):
    """Images of class i % 10, prepared by a mean and a standard deviation; or with blue first."""
    labels = torch.arange(count) % 10
    pixels = torch.full((count, 3, 2, 2), 0.35)
    pixels[:, 0] = ((labels + 0.5) / 10).view(-1, 1, 1)
    if blue_first:
        pixels = pixels.flip(1)
    mean, std = settings
    inputs = (pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    described = InputDescription("image", (3, 2, 2), mean, std)
    return TensorSamples(inputs, labels, source="clean", description=described)


def misfit(samples, labels=None, model=MODEL):
    logits = logits_of(model, samples.load(range(len(samples))))
    return find_misfit(model, samples, samples.labels if labels is None else labels, logits)


def test_right_settings_raise_nothing(caplog):
    assert misfit(images(HALF)) is None
    check_clean(MODEL, images(HALF))
    assert not caplog.text


def test_another_mean_is_named(caplog):
    found = misfit(images(PLAIN))
    assert found.cause == "images are scaled to -1 to 1"
    assert "mean: [0.5, 0.5, 0.5] and std: [0.5, 0.5, 0.5]" in found.change
    assert found.other == 1
    # Of 0 to 1, the upper half is seen, each step twice.
    assert found.accuracy == pytest.approx(0.1)
    with pytest.raises(SamplesError) as caught:
        check_clean(MODEL, images(PLAIN))
    one_line(caught, "clean: the model is right on 10%", "100%", "give --accept-accuracy to go on")


def test_who_accepts_the_accuracy_is_warned(caplog):
    check_clean(MODEL, images(PLAIN), accept=True)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "scaled to -1 to 1" in record.getMessage()
    assert "--accept-accuracy" not in record.getMessage()


def test_blue_that_comes_first_is_named():
    assert misfit(images(HALF, blue_first=True)).cause == "blue comes first in them (BGR)"


def test_shifted_labels_are_named():
    samples = images(HALF)
    found = misfit(samples, (samples.labels - 1).clamp(min=0))
    assert "first class is another one" in found.cause
    found = misfit(
        samples, torch.randperm(10, generator=torch.Generator().manual_seed(0))[samples.labels]
    )
    assert found.cause.startswith("the classes are assigned otherwise")
    assert found.other == 1


def test_a_model_that_is_simply_bad_is_asked_about(caplog):
    labels = torch.randint(0, 10, (100,), generator=torch.Generator().manual_seed(0))
    samples = images(HALF)
    samples.labels = labels
    check_clean(MODEL, samples)
    (record,) = caplog.records
    assert "is this what you know of the model?" in record.getMessage()


def test_too_few_samples_say_nothing():
    # Eight are not enough to be sure.
    assert misfit(images(PLAIN, 8)) is None
    assert misfit(images(PLAIN, 20)) is not None


def test_a_small_gain_is_a_warning(caplog):
    every = images(HALF, 400)
    # Twelve of class 4 and of class 5, forty of each other one.
    rows = [i for i in range(400) if i % 10 not in (4, 5) or i < 120]
    samples = TensorSamples(every.load(rows), source="clean", description=every.description)
    labels = every.labels[rows]
    swapped = torch.arange(10)
    swapped[[4, 5]] = torch.tensor([5, 4])
    check_fit(MODEL, samples, swapped[labels], logits_of(MODEL, samples.load(range(len(rows)))))
    (record,) = caplog.records
    assert "if the classes are assigned otherwise (4 is 5, 5 is 4)" in record.getMessage()


def test_without_labels_a_setting_under_which_the_model_is_surer_is_warned_of(caplog):
    samples = images(PLAIN)
    samples.labels = None
    # It is unsure: what it gets lies beside the steps that it tells.
    check_clean(MODEL, samples)
    (record,) = caplog.records
    assert "the model is surer of these samples if images are scaled to -1 to 1" in record.message


@pytest.mark.parametrize("few", ["samples", "classes"])
def test_without_labels_too_few_samples_or_classes_say_nothing(caplog, few):
    samples = images(PLAIN)
    rows = range(40) if few == "samples" else [i for i in range(100) if i % 10 < 3]
    part = TensorSamples(samples.load(rows), description=samples.description)
    check_clean(MODEL, part)
    assert not caplog.text


def test_without_labels_right_settings_raise_nothing(caplog):
    samples = images(HALF)
    samples.labels = None
    check_clean(MODEL, samples)
    assert not caplog.text
