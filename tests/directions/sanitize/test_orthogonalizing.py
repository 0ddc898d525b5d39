from dataclasses import replace

import pytest
import torch

from tests.directions.backdoored import clean_inputs, labels_of, stamp, write_tensors
from tests.directions.backdoored_nets import backdoored
from tests.directions.sanitize.nets import (
    accuracy,
    clean_samples,
    generator,
    same_form,
    twin,
)
from tests.directions.sanitize.sum_nets import Residual, Tokens, random_net
from tests.handler.bundles import small_bundle
from torchserve_fire.format.bundle import INPUT_LAYER, Layer
from torchserve_fire.format.correction_forms import Affine, Overlay, Shift
from torchserve_fire_build.common.errors import SanitizeError
from torchserve_fire_build.common.hooks import record_features
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.sanitize.orthogonalizing import orthogonalize

LABELS = labels_of(60)
KINDS = ("vector", "token", "map")
LAYERS = {"vector": "mix", "token": "mix", "map": "stem"}


def bundle_of(*layers):
    return replace(small_bundle(), layers=tuple(layers))


def shift(name, direction):
    return Layer(name, tuple(direction.shape), correction=Shift(direction, 1.0))


def own_direction(kind):
    """What the trigger adds at the layer: fifth coordinate, or second channel, of a known place."""
    if kind == "vector":
        return torch.tensor([0.0, 0, 0, 0, 3, 0])
    if kind == "token":
        return torch.tensor([0.0, 0, 0, 0, 5, 0]).expand(3, -1) * torch.tensor([[1.0], [0], [0]])
    direction = torch.zeros(2, 6, 6)
    direction[1, 0, 0] = 3
    return direction


def features_of(model, layer, inputs):
    seen = []
    with torch.no_grad(), record_features(model, [layer], lambda name, x: seen.append(x)):
        model(inputs)
    return seen[0]


def projections(features, unit):
    """Of features (N, *S), on a direction of channels, at each place: (N, places)."""
    channels = 1 if features.dim() == 4 else features.dim() - 1
    return (features.movedim(channels, -1) @ unit).flatten(1)


def spread(values):
    return float((values.amax(0) - values.amin(0)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_backdoor_is_gone_and_clean_accuracy_stays(tmp_path, kind, logged):
    inputs, model = clean_inputs(kind, LABELS, 7), backdoored(kind)
    layer, direction = LAYERS[kind], own_direction(kind)
    assert accuracy(model, stamp(kind, inputs), LABELS) == 0.25
    bundle = bundle_of(shift(layer, direction))
    samples = clean_samples(tmp_path, kind, 40).samples
    changed = orthogonalize(model, bundle, samples)
    assert accuracy(changed, inputs, LABELS) == 1
    assert accuracy(changed, stamp(kind, inputs), LABELS) == 1
    assert logged.messages == [
        f"{layer}: projected out of {layer}; the projection is now its clean mean"
    ]
    assert same_form(changed, model)
    assert accuracy(model, stamp(kind, inputs), LABELS) == 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_a_benign_model_keeps_its_accuracy(tmp_path, kind):
    inputs = clean_inputs(kind, LABELS, 7)
    bundle = bundle_of(shift(LAYERS[kind], own_direction(kind)))
    changed = orthogonalize(twin(kind), bundle, clean_samples(tmp_path, kind, 40).samples)
    assert accuracy(changed, inputs, LABELS) == 1


def random_samples(folder, shape):
    path = folder / "random.npz"
    return read_tensors(write_tensors(path, torch.randn(80, *shape, generator=generator())))


@pytest.mark.parametrize(
    ("kind", "layer", "channels", "has_bias"),
    [
        (Residual, "stem", 4, False),
        (Residual, "norm", 4, True),
        (Residual, "first.conv", 4, True),
        (Residual, "second", 4, True),
        (Tokens, "embed", 8, True),
        (Tokens, "layer", 8, True),
    ],
)
def test_the_projection_is_the_same_for_every_input(
    tmp_path, kind, layer, channels, has_bias, logged
):
    net = random_net(kind)
    shape = (2, 5, 5) if kind is Residual else (5, 6)
    unit = torch.nn.functional.normalize(torch.randn(channels, generator=generator(3)), dim=0)
    direction = unit[:, None, None] if kind is Residual else unit[None]
    feature_shape = (channels, 5, 5) if kind is Residual else (5, channels)
    at_layer = replace(shift(layer, 7 * direction), feature_shape=feature_shape)
    samples = random_samples(tmp_path, shape)
    changed = orthogonalize(net, bundle_of(at_layer), samples)
    # Larger ones than any that it was changed with.
    inputs = 10 * torch.randn(50, *shape, generator=generator(9))
    before, after = (projections(features_of(m, layer, inputs), unit) for m in (net, changed))
    assert spread(after) < 1e-5 * spread(before)
    clean = samples.load(range(80))
    known, left = (projections(features_of(m, layer, clean), unit).mean() for m in (net, changed))
    assert bool(torch.isclose(known, left, atol=1e-4)) == has_bias
    assert ("not its clean mean" in logged.messages[0]) == (not has_bias)
    # What is orthogonal to the direction is as before, of what no other layer changed.
    other = torch.linalg.svd(unit[:, None]).U[:, 1]
    if layer in ("stem", "first.conv", "embed"):
        first = projections(features_of(net, layer, clean), other)
        torch.testing.assert_close(projections(features_of(changed, layer, clean), other), first)
    assert all(torch.isfinite(p).all() for p in changed.parameters())


def test_two_directions_at_one_layer_are_both_projected_out(tmp_path):
    net, samples = random_net(Residual), random_samples(tmp_path, (2, 5, 5))
    first, second = torch.randn(2, 4, 1, 1, generator=generator(3))
    layers = [replace(shift("second", d), feature_shape=(4, 5, 5)) for d in (first, second)]
    layers = [replace(layer, target=i) for i, layer in enumerate(layers)]
    changed = orthogonalize(net, bundle_of(*layers), samples)
    features = features_of(changed, "second", samples.load(range(80)))
    for direction in (first, second):
        assert spread(projections(features, direction.flatten())) < 1e-4


@pytest.mark.parametrize(
    ("directions", "changes"),
    [
        (((0.0, 0, 0, 1), (1.0, 1, 0, 0)), [0, 1]),
        # What arrives of both is the same.
        (((1.0, 0, 0, 1), (1.0, 0, 0, -1)), [0]),
        (((0.0, 0, 0, 1),), []),
    ],
)
def test_channels_that_a_batch_normalisation_ignores_are_not_changed(tmp_path, directions, changes):
    mix, norm = torch.nn.Linear(6, 4, bias=False), torch.nn.BatchNorm1d(4)
    with torch.no_grad():
        mix.weight.copy_(torch.randn(4, 6, generator=generator()))
        norm.weight[3] = 0
    net = torch.nn.Sequential(mix, norm).eval()
    layers = [replace(shift("1", torch.tensor(d)), target=i) for i, d in enumerate(directions)]
    samples = random_samples(tmp_path, (6,))
    changed = orthogonalize(net, bundle_of(*layers), samples)
    features = features_of(changed, "1", samples.load(range(80)))
    assert all(spread(features @ torch.tensor(d)[:, None]) < 1e-5 for d in directions)
    kept = [channel for channel in range(4) if channel not in changes]
    torch.testing.assert_close(changed[0].weight[kept], mix.weight[kept])


def test_the_main_part_of_a_direction_that_differs_by_place_is_projected_out(tmp_path, logged):
    net, samples = random_net(Residual), random_samples(tmp_path, (2, 5, 5))
    direction = torch.zeros(4, 5, 5)
    direction[1, :2], direction[2, 3, 3] = 1.0, 1.0
    orthogonalize(net, bundle_of(shift("first", direction)), samples)
    assert (
        logged.messages[0]
        == "first: one direction of channels carries 91% of the bundle's direction"
    )


def test_a_repair_without_a_single_direction_is_refused(tmp_path):
    affine = Affine(torch.zeros(4, 1, 1), 1.0, slope=torch.eye(4))
    bundle = bundle_of(Layer("first", (4, 5, 5), correction=affine))
    with pytest.raises(SanitizeError, match=r"'first'.*not one direction.*--form clamp"):
        orthogonalize(random_net(Residual), bundle, random_samples(tmp_path, (2, 5, 5)))


def test_what_is_undone_in_the_input_is_left_to_the_layers(tmp_path):
    net, samples = random_net(Residual), random_samples(tmp_path, (2, 5, 5))
    direction = torch.randn(4, 1, 1, generator=generator(3))
    at_layer = replace(shift("second", direction), feature_shape=(4, 5, 5))
    maps, channels = torch.ones(2, 5, 5), torch.ones(2, 1, 1)
    gauges = torch.ones(2, 2, 5, 5)
    overlay = Overlay(maps, 1.0, -maps, gauges, (0.0, 0.0), 0.0, -channels, channels)
    in_input = Layer(INPUT_LAYER, (2, 5, 5), correction=overlay, repair=1)
    alone, both = (
        orthogonalize(net, bundle_of(*layers), samples)
        for layers in ([at_layer], [in_input, at_layer])
    )
    for one, other in zip(alone.parameters(), both.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_output_of_an_activation_is_refused(tmp_path):
    bundle = bundle_of(shift("relu", torch.tensor([0.0, 0, 0, 0, 1, 0])))
    with pytest.raises(SanitizeError, match="'relu' is written by Relu"):
        orthogonalize(backdoored("vector"), bundle, clean_samples(tmp_path, "vector", 40).samples)


class Twice(torch.nn.Module):
    """One layer's weights are written into the sum as they are, and scaled."""

    def __init__(self):
        super().__init__()
        self.mix, self.norm, self.sum = (
            torch.nn.Linear(6, 4),
            torch.nn.BatchNorm1d(4),
            torch.nn.Identity(),
        )
        with torch.no_grad():
            self.norm.weight.copy_(torch.tensor([1.0, -2, 3, 0.1]))

    def forward(self, x):
        mixed = self.mix(x)
        return self.sum(mixed + self.norm(mixed))


def test_a_projection_that_still_varies_is_reported(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Twice().eval()
    bundle = bundle_of(shift("sum", torch.ones(4)))
    with pytest.raises(SanitizeError, match="'sum': its projection still varies"):
        orthogonalize(net, bundle, clean_samples(tmp_path, "vector", 40).samples)
