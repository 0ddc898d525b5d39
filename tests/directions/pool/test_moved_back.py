import pytest
import torch

from directions.pool.moved_back import certainty, certainty_of_other_classes, mean_features
from tests.directions.backdoored_nets import backdoored
from tests.directions.pool.pools import pool_of


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_other_classes_show_in_triggered_samples_alone(tmp_path, kind):
    model, pool = backdoored(kind), pool_of(tmp_path, kind)
    with torch.no_grad():
        predicted = model(pool.samples.load(range(240))).argmax(1)
    layers = ["stem", "relu"] if kind == "map" else ["mix", "relu"]
    rest = mean_features(model, layers, pool.samples, (predicted != 0).nonzero().flatten().tolist())
    own = predicted == 0
    triggered, others = (
        certainty_of_other_classes(model, pool.samples, which.nonzero().flatten().tolist(), 0, rest)
        for which in (own & pool.triggered, own & ~pool.triggered)
    )
    assert triggered > 0.8
    assert others < 0.6 * triggered
    assert not any(module._forward_hooks for module in model.modules())


def test_means_are_those_of_the_features(tmp_path):
    model, pool = backdoored("vector"), pool_of(tmp_path, "vector")
    means = mean_features(model, ["mix", "relu"], pool.samples, range(10))
    with torch.no_grad():
        mixed = model.mix(pool.samples.load(range(10)))
    assert torch.allclose(means["mix"], mixed.mean(0), atol=1e-6)
    assert torch.allclose(means["relu"], mixed.relu().mean(0), atol=1e-6)


def test_certainty_is_by_how_much_the_first_class_is_likelier():
    logits = torch.tensor([[0.5, 0.3, 0.2], [1, 1, 1]]).log()
    assert certainty(logits).tolist() == pytest.approx([0.2, 0.0], abs=1e-6)
