import pytest
import torch

from torchserve_fire_build.reconstruct.trigger_generator import NOISE, TriggerGenerator


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (3, 32, 40), (2, 3, 3)])
def test_triggers_have_the_shape_of_the_inputs(shape):
    triggers = TriggerGenerator(5, shape)(torch.randn(7, NOISE), torch.arange(7) % 5)
    assert triggers.shape == (7, *shape)


def test_triggers_depend_on_the_noise_and_on_the_class():
    network, noise = TriggerGenerator(2, (3, 8, 8)), torch.randn(1, NOISE)
    first, other = torch.tensor([0]), torch.tensor([1])
    assert not torch.allclose(network(noise, first), network(noise, other))
    assert not torch.allclose(network(noise, first), network(-noise, first))
