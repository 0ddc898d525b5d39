import torch

from benchmarks.clean_only import measure
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
    found = measure(OfNormalised(10.0).eval(), unlabelled(as_pixels(images(120)), "clean"), held)
    assert found["named"] == 0
    assert len(found["reconstructed"]) >= 4
    assert found["figures"]["recovered_accuracy"] > 0.95
    assert found["figures"]["clean_accuracy"] == 1


def test_a_benign_model():
    found = measure(OfNormalised(0.0).eval(), unlabelled(as_pixels(images(120)), "clean"), None)
    assert set(found) == {"named", "search_seconds"}
    assert found["named"] is None
