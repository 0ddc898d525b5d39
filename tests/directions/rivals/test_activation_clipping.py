import pytest
import torch
from torch import nn

from benchmarks.samples import labelled
from benchmarks.victims.architectures import SlimResNet
from tests.directions.rivals.nets import (
    accuracy,
    generator,
    granted,
    inputs_of,
    light_some_pixel,
    map_images,
    map_net,
    quadrant_images,
)
from torchserve_fire_build.rivals import activation_clipping as module
from torchserve_fire_build.rivals.activation_clipping import activation_clipping
from torchserve_fire_build.rivals.rival import RivalNotApplicable


def test_an_activation_that_clean_images_never_have_is_cut_off():
    pool, clean = map_images(160, seed=0), map_images(40, seed=1)
    defence = activation_clipping(map_net(), granted(pool, pool, pool), generator())
    assert accuracy(defence, light_some_pixel(clean)) > 0.95
    assert accuracy(defence, clean) > 0.95


def test_each_call_of_an_activation_has_its_own_maxima():
    images = quadrant_images(6, seed=0)
    model = SlimResNet(4).eval()
    maxima = module._maxima(model, labelled(images).samples)
    first, second = (maxima[f"blocks.1.relu, call {call}"] for call in (1, 2))
    assert first.shape == second.shape == (6, 32)
    assert not torch.equal(first, second)
    assert set(maxima) == {"relu, call 1"} | {
        f"blocks.{block}.relu, call {call}" for block in range(4) for call in (1, 2)
    }


def test_at_the_maximum_nothing_changes_for_the_images_it_is_from():
    images = quadrant_images(6, seed=0)
    model = SlimResNet(4).eval()
    inputs = inputs_of(images)
    clipped = module._clipped(model, module._maxima(model, labelled(images).samples), 1.0)
    tight = module._clipped(model, module._maxima(model, labelled(images).samples), 0.1)
    with torch.no_grad():
        assert torch.equal(clipped(inputs), model(inputs))
        assert not torch.allclose(tight(inputs), model(inputs))


def test_channels_of_maps_and_of_vectors():
    model = nn.Sequential(nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.GELU()).eval()
    images = quadrant_images(3, seed=0)
    maxima = module._maxima(model, labelled(images).samples)
    expected = inputs_of(images).clamp(min=0).amax((2, 3))
    assert torch.equal(maxima["0, call 1"], expected)
    assert maxima["3, call 1"].shape == (3, 3 * 16)


def test_a_model_without_activations_cannot_be_clipped():
    model, pool = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)), quadrant_images(8, seed=0)
    assert model(inputs_of(pool)).shape == (8, 4)
    with pytest.raises(RivalNotApplicable, match="activation"):
        activation_clipping(model, granted(pool, pool, pool), generator())
