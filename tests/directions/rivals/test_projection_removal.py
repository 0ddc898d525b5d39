import torch

from tests.directions.rivals.nets import accuracy
from tests.directions.rivals.quadrants import CLEAN, TRIGGERED, build
from torchserve_fire_build.rivals import projection_removal as module
from torchserve_fire_build.rivals.layer_means import LayerMeans
from torchserve_fire_build.rivals.projection_removal import projection_removal


def test_the_projection_becomes_that_of_the_clean_mean_and_the_rest_stays():
    mean = LayerMeans(clean=torch.tensor([1.0, 5.0]), triggered=torch.tensor([3.0, 5.0]))
    edit = module._remove(mean)
    assert edit(torch.tensor([[3.0, 4.0], [-2.0, 7.0]])).tolist() == [[1, 4], [1, 7]]


def test_maps_have_one_projection_each():
    clean = torch.zeros(2, 2, 2)
    triggered = clean.clone()
    triggered[0, 0, 0] = 4
    features = torch.arange(16.0).view(2, 2, 2, 2)
    expected = features.clone()
    expected[:, 0, 0, 0] = 0
    assert torch.equal(module._remove(LayerMeans(clean, triggered))(features), expected)


def test_a_layer_that_the_trigger_does_not_reach_is_left_alone():
    mean = torch.ones(3)
    features = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(module._remove(LayerMeans(mean, mean))(features), features)


def test_triggered_inputs_are_recovered():
    defence = build(projection_removal)
    assert accuracy(defence, TRIGGERED) == 1
    assert accuracy(defence, CLEAN) == 1
