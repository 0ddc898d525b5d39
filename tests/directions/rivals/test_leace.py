import torch

from tests.directions.rivals.nets import (
    accuracy,
    generator,
    granted,
    light_some_pixel,
    map_images,
    map_net,
)
from tests.directions.rivals.quadrants import CLEAN, TRIGGERED, build
from torchserve_fire_build.rivals import leace as module
from torchserve_fire_build.rivals.leace import leace


def samples():
    clean = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    triggered = clean + torch.tensor([0.0, 5, 0, 0])
    return torch.cat([clean, triggered]), torch.arange(100) >= 50


def test_erased_triggered_features_have_the_mean_of_clean_ones():
    features, triggered = samples()
    erased = module._erase(features, triggered)(features)
    clean_mean = features[~triggered].mean(0)
    assert torch.allclose(erased[triggered].mean(0), clean_mean, atol=1e-2)
    assert torch.allclose(erased[~triggered].mean(0), clean_mean, atol=1e-2)


def test_large_maps_are_moved_by_channel(monkeypatch):
    monkeypatch.setattr(module, "MOST_COORDINATES", 8)
    vectors, triggered = samples()
    edit = module._erase(vectors, triggered)
    maps = vectors[:, :, None, None] + torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    expected = edit(vectors)[:, :, None, None] + torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    assert torch.allclose(edit(maps), expected, atol=1e-5)
    tokens = maps.flatten(2).transpose(1, 2)
    assert torch.allclose(edit(tokens), expected.flatten(2).transpose(1, 2), atol=1e-5)


def test_triggered_inputs_are_recovered():
    defence = build(leace)
    assert accuracy(defence, TRIGGERED) == 1
    assert accuracy(defence, CLEAN) == 1


def test_a_trigger_that_moves_is_erased_from_pooled_maps(monkeypatch):
    monkeypatch.setattr(module, "MOST_COORDINATES", 8)
    given_clean, clean = map_images(80, seed=0), map_images(40, seed=1)
    given = granted(given_clean, light_some_pixel(given_clean), map_images(8, seed=2))
    defence = leace(map_net(), given, generator())
    assert accuracy(defence, light_some_pixel(clean)) > 0.9
    assert accuracy(defence, clean) > 0.9
