import pytest
import torch
from torch import nn

from torchserve_fire.errors import AttachError
from torchserve_fire_build.common.partial_runs import BehindLayer, features_at

INPUTS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A function between its modules, a module that runs twice, and a look at the batch's size."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.relu, self.last = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)
        self.middle = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.ran = []
        for name, module in self.named_modules():
            module.register_forward_pre_hook(lambda module, args, name=name: self.ran.append(name))

    def forward(self, x):
        rows = x.size(0)
        x = self.relu(self.first(x).sigmoid())
        return self.last(self.relu(self.middle(x))).view(rows, 2)


def test_the_features_of_a_layer_without_what_lies_behind_it():
    net = Net().eval()
    with torch.no_grad():
        expected = net.relu(net.first(INPUTS).sigmoid())
        expected = net.middle[0](expected)
    net.ran.clear()
    assert torch.equal(features_at(net, "middle.0", INPUTS), expected)
    assert "middle.1" not in net.ran
    assert "last" not in net.ran
    assert not net.middle[0]._forward_hooks
    with pytest.raises(AttachError, match="none of that name"):
        features_at(net, "midle", INPUTS)


@pytest.mark.parametrize("layer", ["first", "middle.0", "middle", "middle.1"])
def test_behind_a_layer_everything_runs_as_it_would(layer):
    net = Net().eval()
    features = features_at(net, layer, INPUTS)
    behind = BehindLayer(net, layer, torch.zeros(1, 3))
    with torch.no_grad():
        for _ in range(2):
            with behind.starting_from(features) as inputs:
                assert torch.equal(net(inputs), net(INPUTS))
    assert not any(module._forward_hooks or "forward" in vars(module) for module in net.modules())


class Past(Net):
    def forward(self, x):
        return super().forward(x) + 0 * x[:, :2]


def test_what_comes_from_before_the_layer_is_unknown():
    net = Past().eval()
    features = features_at(net, "middle", INPUTS)
    with torch.no_grad(), BehindLayer(net, "middle", INPUTS[:1]).starting_from(features) as inputs:
        assert net(inputs).isnan().all()


def test_what_was_replaced_is_put_back_if_the_model_fails():
    net = Net().eval()
    behind = BehindLayer(net, "middle", INPUTS[:1])
    with pytest.raises(RuntimeError), behind.starting_from(torch.zeros(5, 7)) as inputs:
        net(inputs)
    assert not any(module._forward_hooks or "forward" in vars(module) for module in net.modules())
    assert net(INPUTS).shape == (5, 2)
