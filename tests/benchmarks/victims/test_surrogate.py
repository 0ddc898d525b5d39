import pytest
import torch

from benchmarks.victims.attacks import surrogate as module
from benchmarks.victims.attacks.surrogate import MEAN, make_surrogate, train_surrogate


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 32)


def bright_or_dark(count=64, seed=0):
    labels = torch.arange(count) % 2
    noise = 0.3 * torch.rand(count, 3, 16, 16, generator=generator(seed))
    return noise + 0.6 * labels.view(-1, 1, 1, 1), labels


def trained(seed=0):
    return train_surrogate(*bright_or_dark(), generator(seed), steps=12)


@pytest.mark.slow
def test_it_learns_and_is_frozen():
    surrogate = trained()
    images, labels = bright_or_dark(seed=1)
    assert (surrogate(images).argmax(1) == labels).float().mean() > 0.9
    assert not any(module.training for module in surrogate.modules())
    assert not any(parameter.requires_grad for parameter in surrogate.parameters())


@pytest.mark.slow
def test_the_generator_decides():
    first, again, other = (trained(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    trained()
    assert torch.equal(torch.rand(1), expected)


def test_it_takes_images_as_they_are():
    surrogate = make_surrogate(3, seed=0)
    grey = torch.full((1, 3, 16, 16), MEAN)
    assert torch.equal(surrogate(grey), surrogate.net(torch.zeros(1, 3, 16, 16)))
