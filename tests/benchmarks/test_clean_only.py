import torch

from benchmarks import fire
from benchmarks.clean_only import build
from benchmarks.measure import Held
from benchmarks.samples import unlabelled
from benchmarks.victims.data import Images
from benchmarks.victims.train import normalise
from tests.directions.reconstruct.patch_net import PatchNet, images, stamp


class OfNormalised(torch.nn.Module):
    """The net of `patch_net`, for images as the victims take them."""

    def __init__(self, drive):
        super().__init__()
        self.net = PatchNet(drive)
        self.low = normalise(torch.zeros(1, 3, 1, 1))
        self.width = normalise(torch.ones(1, 3, 1, 1)) - self.low

    def forward(self, x):
        return self.net((x - self.low) / self.width)


def as_pixels(inputs):
    labels = torch.arange(len(inputs)) % 4
    return Images((inputs * 255).round().byte(), labels)


def test_the_attackers_trigger_is_what_is_measured():
    test = images(80, seed=3)
    others = torch.arange(80)[torch.arange(80) % 4 != 0]
    triggered = as_pixels(stamp(test)).at(others)
    held = Held(as_pixels(test), triggered, torch.zeros(len(others), dtype=torch.int64), others)
    model = OfNormalised(10.0).eval()
    built, bundle = build(model, unlabelled(as_pixels(images(120)), "clean"))
    assert built["named"] == [0]
    assert bundle.targets == (0,)
    figures = fire.measure(model, bundle, held)["figures"]
    assert figures["recovered_accuracy"] > 0.95
    assert figures["clean_accuracy"] == 1


def test_a_benign_model():
    model = OfNormalised(0.0).eval()
    built, bundle = build(model, unlabelled(as_pixels(images(120)), "clean"))
    assert bundle is None
    assert built["named"] == []
    assert "refused" not in built
    assert "no sign of a trigger" in built["told"][-1]
