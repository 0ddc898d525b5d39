import pytest
import torch
from torch import nn

from benchmarks.victims.architectures import SlimPreActResNet, SlimResNet
from tests.directions.rivals.nets import colour_net, generator, granted, quadrant_images
from torchserve_fire_build.rivals import channel_lipschitz_pruning as module
from torchserve_fire_build.rivals.channel_lipschitz_pruning import (
    channel_lipschitz_pruning,
    lipschitz_bounds,
)
from torchserve_fire_build.rivals.rival import RivalNotApplicable

POOL = quadrant_images(4, seed=0)
GRANTED = granted(POOL, POOL, POOL)


def normed(channels, inputs=2, kernel=1):
    convolution = nn.Conv2d(inputs, channels, kernel, bias=False)
    return convolution, nn.BatchNorm2d(channels, eps=0.0).eval()


def test_the_bound_is_the_norm_times_the_scale():
    convolution, norm = normed(2)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[3.0, 4], [0, 1]])[:, :, None, None])
        norm.weight.copy_(torch.tensor([2.0, -6]))
        norm.running_var.copy_(torch.tensor([4.0, 9]))
    assert lipschitz_bounds(convolution, norm).tolist() == pytest.approx([5, 2])


def test_a_kernel_is_a_matrix_of_inputs_by_places():
    convolution, norm = normed(1, kernel=2)
    with torch.no_grad():
        convolution.weight.zero_()
        # Two rows at right angles: the norm is the longer one's, not that of all weights.
        convolution.weight[0, 0, 0, 0], convolution.weight[0, 1, 1, 1] = 3, 4
    assert float(lipschitz_bounds(convolution, norm)) == pytest.approx(4)


def outlying_net():
    convolution, norm = normed(20, inputs=3)
    with torch.no_grad():
        convolution.weight.fill_(0.1)
        convolution.weight[7] = 10
        norm.bias.fill_(1)
    return nn.Sequential(convolution, norm, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def test_the_outlying_channel_is_pruned_in_a_copy(monkeypatch):
    pruned = []
    monkeypatch.setattr(module, "answer_with", lambda model: pruned.append(model))
    model = outlying_net()
    channel_lipschitz_pruning(model, GRANTED, generator())
    output = pruned[0](torch.ones(1, 3, 8, 8))[0]
    others = torch.arange(20) != 7
    assert output[7] == 0
    assert torch.equal(output[others], model(torch.ones(1, 3, 8, 8))[0, others])
    assert (model[1].weight == 1).all()


@pytest.mark.parametrize(
    ("net", "expected"),
    # The stem, two of each of four blocks, and three shortcuts; with activation first, the norm
    # behind the stem and the second of each block.
    [(SlimResNet, 1 + 8 + 3), (SlimPreActResNet, 1 + 4)],
)
def test_only_what_a_normalisation_takes_at_once_is_a_pair(net, expected):
    pairs = module._normalised_convolutions(net(4).eval(), torch.zeros(1, 3, 8, 8))
    assert len(pairs) == expected
    assert all(conv.out_channels == norm.num_features for conv, norm in pairs)


def test_a_model_without_normalisation_cannot_be_pruned():
    with pytest.raises(RivalNotApplicable, match="normalisation"):
        channel_lipschitz_pruning(colour_net(), GRANTED, generator())
