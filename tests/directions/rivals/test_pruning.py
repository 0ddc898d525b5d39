import pytest
from torch import nn

from tests.directions.rivals.colours import CLEAN, TRIGGERED, given
from tests.directions.rivals.nets import accuracy, colour_net, generator
from torchserve_fire_build.rivals import pruning as module
from torchserve_fire_build.rivals.no_repair import no_repair
from torchserve_fire_build.rivals.pruning import pruning
from torchserve_fire_build.rivals.rival import RivalNotApplicable
from torchserve_fire_build.rivals.rival import answer_with as answer_with_model


def test_the_channel_that_only_the_trigger_lights_is_pruned(monkeypatch):
    before = accuracy(no_repair(colour_net(), given(), generator()), TRIGGERED)
    assert before == pytest.approx(1 / 3)
    pruned = []

    def answer_with(model):
        pruned.append(model)
        return answer_with_model(model)

    monkeypatch.setattr(module, "answer_with", answer_with)
    defence = pruning(colour_net(), given(), generator())
    assert accuracy(defence, TRIGGERED) == 1
    assert accuracy(defence, CLEAN) == 1
    assert (pruned[0].net.head.weight[:, 3] == 0).all()
    assert (pruned[0].net.head.weight[:, :3] == colour_net().net.head.weight[:, :3]).all()


def test_a_model_without_a_last_linear_layer_cannot_be_pruned():
    model = nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten())
    with pytest.raises(RivalNotApplicable, match="linear"):
        pruning(model, given(), generator())
