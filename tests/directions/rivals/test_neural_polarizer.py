import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks.victims.architectures import ARCHITECTURES
from benchmarks.victims.poison import to_float
from benchmarks.victims.train import MEAN, STD, normalise
from tests.directions.rivals.nets import (
    accuracy,
    colour_images,
    colour_net,
    generator,
    granted,
    quadrant_images,
    quadrant_net,
)
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.rivals import neural_polarizer as module
from torchserve_fire_build.rivals.neural_polarizer import NORM, Polarizer, neural_polarizer, perturb
from torchserve_fire_build.rivals.rival import RivalNotApplicable

IMAGES = InputDescription("image", (3, 8, 8), MEAN, STD)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 5, 3)])
def test_it_starts_by_normalising_each_channel(shape):
    # The last channel is dead: its variance counts as a hundredth of the mean one's, 5 / 3.
    mean, deviation = torch.tensor([1.0, -2, 0]), torch.tensor([2.0, 1, (5 / 300) ** 0.5])
    polarizer = Polarizer(mean, torch.tensor([4.0, 1, 0])).eval()
    channel = (3, 1, 1) if len(shape) == 4 else (3,)
    features = torch.randn(shape, generator=generator())
    expected = (features - mean.view(channel)) / deviation.view(channel)
    assert torch.allclose(polarizer(features), expected, rtol=1e-3, atol=1e-5)


def test_a_perturbation_leads_to_another_class_within_its_bounds():
    images = to_float(colour_images(30, seed=0).pixels)
    wanted = (torch.arange(30) + 1) % 3
    model = colour_net()
    perturbed = perturb(model, images, wanted, IMAGES)
    before, after = (F.cross_entropy(model(normalise(x)), wanted) for x in (images, perturbed))
    assert after < before
    assert (perturbed - images).flatten(1).norm(dim=1).max() <= NORM + 1e-5
    assert perturbed.min() >= 0
    assert perturbed.max() <= 1


def test_a_perturbation_beyond_the_norm_is_scaled_back(monkeypatch):
    monkeypatch.setattr(module, "STEP", 10.0)
    images = torch.full((4, 3, 8, 8), 0.5)
    lengths = (
        (perturb(colour_net(), images, torch.arange(4) % 3, IMAGES) - images).flatten(1).norm(dim=1)
    )
    assert (lengths <= NORM + 1e-5).all()
    assert lengths.max() > 0.5 * NORM


def test_clean_images_keep_their_class_and_the_victim_its_weights():
    pool = colour_images(256, seed=0)
    model = colour_net(drive=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    defence = neural_polarizer(model, granted(pool, pool, pool, classes=3), generator())
    assert accuracy(defence, colour_images(60, seed=1)) > 0.95
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_makes_perturbed_images_keep_their_class():
    pool = colour_images(256, seed=0)
    model, trained = colour_net(drive=0), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "answer_with", lambda model: trained.append(model))
        neural_polarizer(model, granted(pool, pool, pool, classes=3), generator())
    perturbed = perturb(model, to_float(pool.pixels), (pool.labels + 1) % 3, IMAGES)
    losses = [F.cross_entropy(net(normalise(perturbed)), pool.labels) for net in (model, *trained)]
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [
        ("resnet", "blocks.2"),
        ("densenet", "features.transition2.pool"),
        ("convnext", "features.3.1"),
        ("vit", "encoder.layers.encoder_layer_2"),
    ],
)
def test_it_sits_before_the_last_block(architecture, layer):
    model = ARCHITECTURES[architecture](4).eval()
    assert module._choose_layer(model, torch.zeros(1, 3, 32, 32)) == layer


def test_a_model_without_places_cannot_have_one():
    model, pool = quadrant_net(), quadrant_images(8, seed=0)
    with pytest.raises(RivalNotApplicable, match="maps or tokens"):
        neural_polarizer(model, granted(pool, pool, pool), generator())
