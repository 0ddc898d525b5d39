import pytest
import torch
from torch import nn

from tests.directions.backdoored_nets import backdoored
from tests.directions.pool import pools
from torchserve_fire_build.common.progress import Progress
from torchserve_fire_build.pool.last_layer import read_last_layer


def read(model, samples):
    example = torch.zeros(1, *samples.load([0]).shape[1:])
    with Progress("", len(samples)) as progress:
        return read_last_layer(model, samples, example, "relu", progress)


def every(found):
    return found.features[torch.ones(len(found.features), dtype=torch.bool)]


@pytest.mark.parametrize("kind", ["vector", "map"])
def test_the_features_are_the_heads_inputs(tmp_path, kind):
    model, samples = backdoored(kind), pools.pool_of(tmp_path, kind).samples
    found = read(model, samples)
    with torch.no_grad():
        inputs = samples.load(range(len(samples)))
        assert torch.allclose(found.logits, model(inputs), atol=1e-5)
        assert torch.allclose(model.head(every(found)), found.logits, atol=1e-4)
    assert torch.equal(found.predicted, found.logits.argmax(1))
    assert not model.head._forward_pre_hooks
    assert not model.head._forward_hooks


def test_if_logits_are_averaged_over_tokens_another_layer_is_read(tmp_path):
    model, samples = backdoored("token"), pools.pool_of(tmp_path, "token").samples
    found = read(model, samples)
    assert every(found).shape == (len(samples), 6)


def test_if_the_head_is_a_convolution_another_layer_is_read(tmp_path):
    class ConvolutionHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 5, 3)
            self.relu = nn.ReLU()
            self.head = nn.Conv2d(5, 4, 1)

        def forward(self, x):
            return self.head(self.relu(self.stem(x))).mean((2, 3))

    samples = pools.pool_of(tmp_path, "map").samples
    model = ConvolutionHead().eval()
    found = read(model, samples)
    with torch.no_grad():
        maps = model.relu(model.stem(samples.load(range(len(samples)))))
    assert torch.allclose(every(found), maps.mean((2, 3)), atol=1e-6)
