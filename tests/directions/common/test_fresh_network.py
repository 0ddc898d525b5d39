import torch
from torch import nn

from torchserve_fire_build.common.fresh_network import fresh_network


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.linspace(-1, 1, 1000))
        self.still = nn.Parameter(torch.full((3,), 2.0))
        self.body = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout())
        self.attention = nn.MultiheadAttention(8, 2)


def values(net):
    return torch.cat([value.flatten().float() for value in net.state_dict().values()])


def test_nothing_of_the_old_weights_is_left():
    net = Net().eval().requires_grad_(False)
    with torch.no_grad():
        net.body[1].running_mean.fill_(5)
        net.body[0].weight.fill_(100)
    before = values(net)
    fresh = fresh_network(net, 0)
    assert values(net).equal(before)
    assert fresh.body[1].running_mean.eq(0).all()
    assert 0 < fresh.body[0].weight.abs().max() <= 5**-0.5
    assert not fresh.place.equal(net.place)
    assert abs(float(fresh.place.detach().std() - net.place.detach().std())) < 0.1
    assert fresh.still.eq(0).all()
    assert not fresh.attention.in_proj_weight.equal(net.attention.in_proj_weight)
    assert all(parameter.requires_grad for parameter in fresh.parameters())


def test_the_seed_decides_and_nothing_else_is_drawn():
    net = Net()
    state = torch.random.get_rng_state()
    one, two, other = (values(fresh_network(net, seed)) for seed in (1, 1, 2))
    assert one.equal(two)
    assert not one.equal(other)
    assert torch.random.get_rng_state().equal(state)
