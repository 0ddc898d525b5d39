import torch
from torch import nn

from benchmarks.granting import build_alike
from benchmarks.victims.architectures import ARCHITECTURES


def test_a_victim_is_built_anew():
    model = ARCHITECTURES["resnet"](4)
    build = build_alike(model, 4)
    fresh = build()
    assert type(fresh) is type(model)
    weights = (next(net.parameters()) for net in (fresh, model))
    assert not torch.equal(*weights)


def test_another_architecture_cannot_be():
    assert build_alike(nn.Linear(3, 4), 4) is None
