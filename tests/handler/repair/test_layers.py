from collections import namedtuple

import pytest
import torch
from torch import nn

from torchserve_fire.errors import AttachError
from torchserve_fire.repair.layers import (
    eager_model,
    feature_of,
    find_layer,
    is_compiled,
    with_feature,
)

Pair = namedtuple("Pair", "hidden rest")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.layer2 = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer2(self.layer1(x))


def test_a_layer_is_found_by_its_name():
    net = Net()
    assert find_layer(net, "layer2") is net.layer2
    assert find_layer(net, "layer1.0") is net.layer1[0]


@pytest.mark.parametrize(
    ("name", "near"), [("layer3", "layer2"), ("layer1.7", "layer1.0"), ("Layer2", "layer2")]
)
def test_a_missing_layer_is_refused_with_the_near_ones(name, near):
    with pytest.raises(AttachError) as caught:
        find_layer(Net(), name)
    message = str(caught.value)
    assert message.startswith(f"layer {name!r}: the model Net has none of that name; the nearest")
    assert near in message


@pytest.mark.parametrize("name", ["", "zzz", "a\nb"])
def test_a_missing_layer_that_is_like_none(name):
    with pytest.raises(AttachError, match=r"has none of that name$") as caught:
        find_layer(Net(), name)
    assert "\n" not in str(caught.value)


def test_layers_of_a_compiled_model_keep_their_names():
    net = Net()
    compiled = torch.compile(net, backend="eager")
    assert is_compiled(compiled)
    assert not is_compiled(net)
    assert eager_model(compiled) is net
    assert eager_model(net) is net
    assert find_layer(compiled, "layer1.0") is net.layer1[0]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: (t, 1),
        lambda t: [t, None],
        lambda t: Pair(t, "rest"),
        lambda t: (t,),
    ],
)
def test_the_feature_of_an_output_is_found_and_put_back(wrap):
    feature, other = torch.ones(2, 3), torch.zeros(2, 3)
    output = wrap(feature)
    assert feature_of(output) is feature
    changed = with_feature(output, other)
    assert type(changed) is type(output)
    assert feature_of(changed) is other
    assert feature_of(output) is feature  # The old output is left as it was.
    if not isinstance(output, torch.Tensor):
        assert list(changed)[1:] == list(output)[1:]


@pytest.mark.parametrize(
    "output",
    [
        None,
        (),
        [],
        {"hidden": torch.ones(2, 3)},
        "text",
        ((torch.ones(2, 3),),),
        (None, torch.ones(2, 3)),
        torch.ones(2),
        torch.ones(()),
        torch.ones(2, 3, dtype=torch.int64),
        torch.ones(2, 3, dtype=torch.bool),
    ],
)
def test_an_output_without_a_feature(output):
    assert feature_of(output) is None
