import pytest
import torch
from torch import nn

from tests.directions.backdoored import labels_of, write_tensors
from tests.directions.reconstruct.patch_net import PatchNet, images, stamp
from tests.directions.sanitize.nets import accuracy, generator, same_form
from torchserve_fire_build.common.errors import SanitizeError
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples
from torchserve_fire_build.sanitize.retraining import build_anew, retrain
from torchserve_fire_build.sanitize.training import Schedule

LABELS = labels_of(80)


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))


def test_a_model_with_first_weights_learns_from_clean_samples_alone(tmp_path, logged):
    labels = labels_of(256)
    file = write_tensors(tmp_path / "clean.npz", images(256), labels)
    clean = LabelledSamples(read_tensors(file), labels)
    fresh = build_anew(build, build(), generator())
    first = {name: value.clone() for name, value in fresh.state_dict().items()}
    trained = retrain(fresh, clean, Schedule(40, 0.3), generator())
    test = images(80, seed=7)
    assert accuracy(trained, test, LABELS) == 1
    assert accuracy(trained, stamp(test), LABELS) == 1
    assert logged.messages == ["retrained: 40 of 40 epochs over 256 clean samples"]
    assert same_form(trained, build())
    assert not any(torch.equal(first[name], value) for name, value in trained.state_dict().items())


def test_the_seed_decides_the_first_weights():
    old = build()
    before = torch.random.get_rng_state()
    nets = [build_anew(build, old, generator(seed)) for seed in (0, 0, 1)]
    weights = [net[1].weight for net in nets]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    # Nobody else's random numbers are moved.
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_class_that_comes_with_the_old_weights_is_refused():
    # As one that loads its checkpoint when it is built.
    with pytest.raises(SanitizeError, match=r"PatchNet: builds means.linear.weight with the"):
        build_anew(PatchNet, PatchNet(), generator())


def test_frozen_random_weights_are_refused_and_frozen_constant_ones_are_not():
    def frozen(first):
        net = build()
        net[1].bias.requires_grad_(False).copy_(first(4))
        return net

    with pytest.raises(SanitizeError, match=r"freezes 1.bias"):
        build_anew(lambda: frozen(torch.rand), build(), generator())
    fresh = build_anew(lambda: frozen(torch.arange), build(), generator())
    assert fresh[1].bias.tolist() == [0, 1, 2, 3]
