"""The device that is not here does what a GPU would do."""

import pytest
import torch
from torch import nn

from tests.elsewhere import ELSEWHERE, elsewhere

NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
INPUTS = torch.arange(32.0).view(2, 1, 4, 4)


@pytest.fixture
def watched(monkeypatch):
    with elsewhere(monkeypatch) as watched:
        yield watched


def test_values_are_those_of_the_cpu_and_only_reading_them_waits(watched):
    there = INPUTS.to(ELSEWHERE)
    doubled = 2 * there
    assert doubled.device == (doubled + 1).device == ELSEWHERE
    assert not watched.waits
    assert torch.equal(doubled.cpu(), 2 * INPUTS)
    assert float(doubled.max()) == 62
    assert there[there > 30].tolist() == [31]
    # The copies to the CPU, the number, and the mask of as many values as nobody knows before.
    assert watched.waits == {"_to_copy": 2, "_local_scalar_dense": 1, "index": 1}


@pytest.mark.parametrize(
    "mixing",
    [
        lambda there: there + INPUTS,
        lambda there: torch.cat([there, INPUTS]),
        lambda there: INPUTS[torch.tensor([0]).to(ELSEWHERE)],
        lambda there: INPUTS.clone().index_put_((torch.tensor([0]),), there[:1]),
        lambda there: torch.randn(2, device=ELSEWHERE, generator=torch.Generator()),
        lambda there: there.numpy(),
        lambda there: torch.tensor([1.0], device=ELSEWHERE) + there,
    ],
)
def test_what_a_gpu_would_refuse_fails(watched, mixing):
    with pytest.raises((RuntimeError, TypeError)):
        mixing(INPUTS.to(ELSEWHERE))


def test_what_a_gpu_takes_of_the_cpu_is_taken(watched):
    there = INPUTS.to(ELSEWHERE)
    assert torch.equal((there * torch.tensor(3.0)).cpu(), 3 * INPUTS)
    assert torch.equal(there[torch.tensor([1, 0])].cpu(), INPUTS.flip(0))
    assert torch.equal(torch.zeros_like(there).copy_(INPUTS).cpu(), INPUTS)


def test_a_network_and_its_gradients_are_the_same(watched):
    net = NET.eval()
    expected = torch.autograd.grad(net(INPUTS).square().sum(), list(net.parameters()))
    net.to(ELSEWHERE)
    try:
        found = torch.autograd.grad(
            net(INPUTS.to(ELSEWHERE)).square().sum(), list(net.parameters())
        )
        assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))
    finally:
        net.to("cpu")
