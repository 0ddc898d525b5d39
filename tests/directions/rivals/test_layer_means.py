import torch

from benchmarks.samples import labelled
from benchmarks.victims.poison import to_float
from benchmarks.victims.train import normalise
from tests.directions.rivals.nets import (
    granted,
    light_corner,
    map_images,
    map_net,
    quadrant_images,
    quadrant_net,
)
from torchserve_fire_build.rivals.layer_means import layer_means, projections


def evidence(clean, triggered):
    return granted(clean, triggered, clean).evidence


def test_the_trigger_moves_the_corner_and_a_sixteenth_of_its_quadrant():
    clean = quadrant_images(20, seed=0)
    clean.pixels[:, :, 0, 0] = 0
    means = layer_means(quadrant_net(), evidence(clean, light_corner(clean)))
    assert list(means) == ["net.features.linear", "net.features.relu"]
    expected = torch.tensor([1 / 16, 0, 0, 0, 4])
    assert torch.allclose(means["net.features.linear"].difference, expected, atol=1e-4)


def test_unpaired_samples_may_differ_in_number():
    clean, triggered = quadrant_images(24, seed=0), light_corner(quadrant_images(8, seed=1))
    means = layer_means(quadrant_net(), evidence(clean, triggered))["net.features.linear"]
    # 2 is what a lit corner gives.
    assert float(means.triggered[4]) == 2
    assert float(means.clean[4]) < 0


def test_projections_are_inner_products():
    model, images = map_net(), map_images(5, seed=0)
    direction = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.net.net.stem(4 * to_float(images.pixels)[:, :1])
        assert model(normalise(to_float(images.pixels))).shape == (5, 4)
    expected = (features * direction).flatten(1).sum(1)
    samples = labelled(images).samples
    found = projections(model, {"net.net.stem": direction}, samples)["net.net.stem"]
    assert torch.allclose(found, expected, atol=1e-4)
