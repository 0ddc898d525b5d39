import torch

from tests.directions.rivals.colours import CLEAN, TRIGGERED, given
from tests.directions.rivals.nets import accuracy, colour_net, generator, inputs_of
from torchserve_fire_build.rivals.isolation_forest import isolation_forest


def test_a_trigger_that_lights_a_channel_of_its_own_is_isolated_soon():
    defence = isolation_forest(colour_net(), given(), generator())
    assert defence(inputs_of(TRIGGERED)).flagged.float().mean() > 0.9
    assert defence(inputs_of(CLEAN)).flagged.float().mean() < 0.1
    assert accuracy(defence, CLEAN) > 0.9


def test_the_same_seed_grows_the_same_forest():
    answers = [
        isolation_forest(colour_net(), given(), generator(seed))(inputs_of(CLEAN)).flagged
        for seed in (1, 1)
    ]
    assert torch.equal(*answers)
