import pytest
from torch import nn

from tests.directions.rivals.colours import CLEAN, TRIGGERED, given
from tests.directions.rivals.nets import accuracy, colour_net, generator
from torchserve_fire_build.rivals import fine_pruning as module
from torchserve_fire_build.rivals.fine_pruning import fine_pruning
from torchserve_fire_build.rivals.no_repair import no_repair
from torchserve_fire_build.rivals.rival import RivalNotApplicable


def test_the_channel_that_only_the_trigger_lights_is_pruned():
    assert accuracy(no_repair(colour_net(), given(), generator()), TRIGGERED) == pytest.approx(
        1 / 3
    )
    defence = fine_pruning(colour_net(), given(), generator())
    assert accuracy(defence, TRIGGERED) == 1
    assert accuracy(defence, CLEAN) == 1


def test_pruned_channels_stay_pruned(monkeypatch):
    tuned = []
    monkeypatch.setattr(module, "answer_with", lambda model: tuned.append(model))
    fine_pruning(colour_net(), given(), generator())
    weight = tuned[0].net.head.weight
    assert (weight[:, 3] == 0).all()
    assert (weight[:, :3] != 0).any()


def test_a_model_without_a_last_linear_layer_cannot_be_pruned():
    model = nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten())
    with pytest.raises(RivalNotApplicable, match="linear"):
        fine_pruning(model, given(), generator())
