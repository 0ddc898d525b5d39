import pytest
import torch
from torch import nn

from tests.directions.backdoored_nets import backdoored
from tests.directions.pool.pools import pool_of
from torchserve_fire_build.common.row_file import RowFile
from torchserve_fire_build.pool.last_layer import LastLayer
from torchserve_fire_build.pool.triggered_side import TriggeredSide
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def judged(tmp_path, kind, suspected, swap=False, cut=False):
    """What is found of class 0 where the groups are known; or where its own are cut in two."""
    model, pool = backdoored(kind), pool_of(tmp_path, kind)
    inputs = pool.samples.load(range(240))
    with torch.no_grad():
        read = LastLayer(RowFile(), model(inputs))
    judge = TriggeredSide(
        model, pool.samples, ["stem" if kind == "map" else "mix", "relu"], read, suspected
    )
    own = read.predicted == 0
    members = (own & ~pool.triggered if cut else own).nonzero().flatten()
    upper = torch.arange(len(members)) % 2 == 0 if cut else pool.triggered[members]
    found = judge.find({0: (members, upper ^ swap)}).get(0)
    return found, pool.triggered[members]


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("suspected", [[0], [0, 1, 2, 3]])
@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_the_triggered_group_is_found_on_either_side(tmp_path, kind, suspected, swap):
    found, triggered = judged(tmp_path, kind, suspected, swap)
    assert torch.equal(found.members, triggered)
    # The other three in equal shares.
    assert not found.few_classes


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_two_halves_of_a_clean_class_are_not_triggered(tmp_path, kind):
    assert judged(tmp_path, kind, [0], cut=True)[0] is None


@pytest.mark.parametrize(("shown", "few"), [([1, 2], True), (range(1, 30), False)])
def test_a_group_that_shows_few_of_many_other_classes_is_told_apart(shown, few):
    # The inputs are the logits. A trigger adds more of class 0 than an input has of its own class.
    own = 40 * torch.eye(30)
    others = own[1:].repeat(4, 1)
    triggered = own[torch.tensor([*shown] * (58 // len(shown)))] + 80 * own[0] / 40
    inputs = torch.cat([others, own[0].repeat(40, 1), triggered])
    layer = nn.Sequential(nn.Identity()).eval()
    judge = TriggeredSide(
        layer, TensorSamples(inputs), ["0"], LastLayer(RowFile(), inputs), suspected=[0]
    )
    members = torch.arange(len(others), len(inputs))
    upper = torch.arange(len(members)) >= 40
    found = judge.find({0: (members, upper)})[0]
    assert torch.equal(found.members, upper)
    assert found.few_classes == few
