import pytest
import torch

from benchmarks import fire, first_bundle
from benchmarks.first_bundle import obtain_first
from benchmarks.measure import Held
from benchmarks.samples import unlabelled
from benchmarks.victims.data import Images
from benchmarks.victims.recipe import Recipe
from benchmarks.victims.train import Victim, normalise
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


def not_again(*args, **kwargs):
    raise AssertionError("built again")


def victim(drive):
    """A victim whose trigger drives class 0, or a benign one where that is 0."""
    recipe = Recipe("net", None)
    return Victim(recipe, OfNormalised(drive).eval(), None, "0" * 64, 1)


def test_the_attackers_trigger_is_what_is_measured(tmp_path, monkeypatch):
    test = images(80, seed=3)
    others = torch.arange(80)[torch.arange(80) % 4 != 0]
    triggered = as_pixels(stamp(test)).at(others)
    held = Held(as_pixels(test), triggered, torch.zeros(len(others), dtype=torch.int64), others)
    backdoored, clean = victim(10.0), unlabelled(as_pixels(images(120)), "clean")
    first = obtain_first(backdoored, clean, tmp_path)
    assert first.row["named"] == [0]
    assert first.bundle.targets == (0,)
    figures = fire.measure(backdoored.model, first.bundle, held)["figures"]
    assert figures["recovered_accuracy"] > 0.95
    assert figures["clean_accuracy"] == 1
    monkeypatch.setattr(first_bundle, "build_reconstructed", not_again)
    kept = obtain_first(backdoored, clean, tmp_path)
    assert kept.row == first.row
    assert fire.measure(backdoored.model, kept.bundle, held)["figures"] == figures


def test_a_benign_model(tmp_path, monkeypatch):
    clean = unlabelled(as_pixels(images(120)), "clean")
    first = obtain_first(victim(0.0), clean, tmp_path)
    assert first.bundle is None
    assert first.row["named"] == []
    assert "refused" not in first.row
    assert "no sign of a trigger" in first.row["told"][-1]
    monkeypatch.setattr(first_bundle, "build_reconstructed", not_again)
    kept = obtain_first(victim(0.0), clean, tmp_path)
    assert (kept.row, kept.bundle) == (first.row, None)
    with pytest.raises(AssertionError, match="built again"):
        obtain_first(victim(0.0), unlabelled(as_pixels(images(121)), "clean"), tmp_path)
