import torch
from torch import nn

from benchmarks.victims.train import MEAN, STD, normalise
from tests.directions.rivals.nets import granted, quadrant_images
from torchserve_fire_build.rivals import lite_bd as module
from torchserve_fire_build.rivals.lite_bd import agreed, lite_bd, rescale, without_bands

SIZE = 32


def wave(cycles, *, height=0.2):
    """Grey with a wave of so many cycles across the columns, (1, 3, 32, 32)."""
    columns = torch.cos(2 * torch.pi * cycles * torch.arange(SIZE) / SIZE)
    return (0.5 + height * columns).expand(1, 3, SIZE, SIZE)


class OfWaves(nn.Module):
    """Class 1 where the image has a wave of so many cycles; of more images, how many it saw."""

    def __init__(self, *cycles):
        super().__init__()
        self.cycles, self.seen = cycles, 0

    def forward(self, x):
        self.seen += len(x)
        images = x * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        spectrum = torch.fft.fft2(images).abs() * 2 / SIZE**2
        there = torch.stack([spectrum[:, 0, 0, each] for each in self.cycles]).amax(0) > 0.1
        return torch.stack([~there, there], 1).float()


def answer(model, images):
    some = quadrant_images(4, seed=0)
    return lite_bd(model, granted(some, some, some), None)(normalise(images))


def test_what_is_too_fine_for_the_smaller_image_changes_the_label_at_once():
    model = OfWaves(16)
    answers = answer(model, wave(16))
    assert answers.predictions.tolist() == [0]
    assert answers.passes.tolist() == [2]
    assert model.seen == 2


def test_a_band_decides_where_enough_agree(monkeypatch):
    model = OfWaves(4)
    # 4 of 16 cycles along one side are .18 of the way to the corner: in the band from .15 to .2.
    # Its neighbours take half of the wave and more within their soft edges.
    for agreement, label in ((2, 0), (4, 1)):
        monkeypatch.setattr(module, "AGREEMENT", agreement)
        answers = answer(model, wave(4, height=0.15))
        assert answers.predictions.tolist() == [label]
        assert answers.passes.tolist() == [2 + 19]


def test_each_version_lacks_its_band_and_none_lacks_the_brightness():
    versions = without_bands(wave(8))
    assert len(versions) == 19
    for version in versions:
        torch.testing.assert_close(version.mean(), torch.tensor(0.5), atol=1e-4, rtol=0)
    # 8 of 16 cycles along one side are .354 of the way to the corner: in the band from .35 to .4.
    lacking = [float((version - wave(8)).abs().max()) for version in versions]
    assert lacking[6] > 0.199
    assert max(lacking[:4] + lacking[9:]) < 1e-5


def test_smooth_images_stay_as_they_are_when_they_are_rescaled():
    torch.testing.assert_close(rescale(wave(0)), wave(0))
    assert (rescale(wave(1)) - wave(1)).abs().max() < 0.05
    assert (rescale(wave(16)) - wave(16)).abs().max() > 0.1


def test_the_label_on_which_most_agree(monkeypatch):
    monkeypatch.setattr(module, "AGREEMENT", 2)
    labels = torch.tensor([[0, 0, 0, 2, 2, 1], [0, 0, 0, 0, 2, 1], [1, 1, 1, 1, 2, 2]])
    # Its own label has no vote, and one vote is none.
    assert agreed(labels, torch.tensor([0, 0, 0])).tolist() == [2, 0, 1]
