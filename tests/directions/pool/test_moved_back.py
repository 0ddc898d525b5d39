import pytest
import torch
from torch import nn

from tests.directions.backdoored import write_tensors
from tests.directions.backdoored_nets import backdoored
from tests.directions.pool.pools import pool_of
from torchserve_fire_build.pool.moved_back import Group, certainty, mean_features, see_other_classes
from torchserve_fire_build.samples.read_tensors import read_tensors


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_other_classes_show_only_in_triggered_samples(tmp_path, kind):
    model, pool = backdoored(kind), pool_of(tmp_path, kind)
    with torch.no_grad():
        predicted = model(pool.samples.load(range(240))).argmax(1)
    layers = ["stem", "relu"] if kind == "map" else ["mix", "relu"]
    rest = mean_features(model, layers, pool.samples, (predicted != 0).nonzero().flatten().tolist())
    own = predicted == 0
    triggered, others = (
        see_other_classes(model, pool.samples, Group(which.nonzero().flatten().tolist(), 0), rest)
        for which in (own & pool.triggered, own & ~pool.triggered)
    )
    assert triggered.certainty > 0.8
    assert others.certainty < 0.6 * triggered.certainty
    assert triggered.variety > 0.7
    assert others.variety < 0.6 * triggered.variety
    assert not any(module._forward_hooks for module in model.modules())


def test_means_are_those_of_the_features(tmp_path):
    model, pool = backdoored("vector"), pool_of(tmp_path, "vector")
    means = mean_features(model, ["mix", "relu"], pool.samples, range(10))
    with torch.no_grad():
        mixed = model.mix(pool.samples.load(range(10)))
    assert torch.allclose(means["mix"], mixed.mean(0), atol=1e-6)
    assert torch.allclose(means["relu"], mixed.relu().mean(0), atol=1e-6)


def test_certainty_is_the_gap_between_the_two_likeliest_classes():
    logits = torch.tensor([[0.5, 0.3, 0.2], [1, 1, 1]]).log()
    assert certainty(logits).tolist() == pytest.approx([0.2, 0.0], abs=1e-6)


class Moved(nn.Module):
    """Logits (N, 4): a sample's own, once a layer's features are moved."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize(
    ("shown", "certainty", "variety"),
    [([1, 2, 3], 1.0, 1.0), ([1, 1, 1], 1.0, 1 / 3), ([1, 2, 0], 2 / 3, 4 / 9), ([0, 0, 0], 0, 0)],
)
def test_certainty_counts_more_if_it_is_spread_over_the_classes(
    tmp_path, shown, certainty, variety
):
    logits = 100 * torch.eye(4)[shown]
    samples = read_tensors(write_tensors(tmp_path / "x.npz", logits))
    # Moved to their own mean, they stay where they are.
    rest = {"layer": logits.mean(0)}
    seen = see_other_classes(Moved().eval(), samples, Group(range(3), 0), rest)
    assert (seen.certainty, seen.variety) == pytest.approx((certainty, variety), abs=1e-4)
