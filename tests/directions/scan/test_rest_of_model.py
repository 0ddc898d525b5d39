import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from tests.directions.scan.many_net import ManyNet, images
from torchserve_fire_build.scan.rest_of_model import RestOfModel

INPUTS = images(6, 12)


class Counting(ManyNet):
    """Takes the number of inputs from its input, as `view(x.size(0), -1)` does."""

    def forward(self, x):
        features = self.act(self.first(x.flatten(1)))
        return self.head(features.view(len(x), -1))


class Summing(ManyNet):
    """Does not fail on another number of features, and returns other logits then."""

    def forward(self, x):
        features = self.act(self.first(x.flatten(1)))
        return self.head(features) + 0 * features.sum() + len(features) / len(x)


class Beside(Counting):
    """Lets something from before the layer go past it, though it changes nothing."""

    def forward(self, x):
        return super().forward(x) + 0 * x.sum((1, 2, 3)).view(len(x), 1)


class Overwriting(ManyNet):
    """Overwrites the features of a layer behind it."""

    def forward(self, x):
        return self.head(self.act(self.first(x.flatten(1))).mul_(2))


@pytest.mark.parametrize(
    ("kind", "whole"), [(ManyNet, False), (Counting, False), (Summing, False), (Beside, True)]
)
def test_the_rest_of_the_features_has_the_logits_of_the_whole(kind, whole):
    model = kind(6).eval()
    rest = RestOfModel(model, "act", INPUTS)
    assert rest.whole is whole
    # More features than inputs, too.
    for inputs in (INPUTS[:1], INPUTS[5:], torch.cat([INPUTS, INPUTS])):
        torch.testing.assert_close(rest.logits(rest.features(inputs)), model(inputs))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("kind", "inputs"), [(ManyNet, [1]), (Counting, []), (Summing, []), (Beside, [10])]
)
def test_layers_before_get_as_few_inputs_as_suffice(monkeypatch, kind, inputs):
    model = kind(6).eval()
    rest = RestOfModel(model, "act", INPUTS)
    features = rest.features(INPUTS[:10])
    ran = []
    monkeypatch.setattr(
        nn.Linear,
        "forward",
        lambda layer, x: ran.append((layer, len(x))) or linear(x, layer.weight, layer.bias),
    )
    rest.logits(features)
    assert [count for layer, count in ran if layer is model.first] == inputs
    # Of 7 features and 64 pixels, those count that the model takes.
    assert rest.values(features) == (64 if kind is Beside else 7)


def test_what_a_later_layer_overwrites_is_read_before():
    model = Overwriting(6).eval()
    rest = RestOfModel(model, "act", INPUTS)
    inside = model.act(model.first(INPUTS.flatten(1)))
    torch.testing.assert_close(rest.features(INPUTS), inside)


@pytest.mark.parametrize("kind", [ManyNet, Counting, Beside])
def test_logits_are_differentiable_in_the_features(kind):
    model = kind(6)
    rest = RestOfModel(model, "act", INPUTS)
    features = rest.features(INPUTS[:4]).requires_grad_()
    rest.logits(features)[:, 1].sum().backward()
    # Class 1 is 8 times the second feature.
    torch.testing.assert_close(features.grad, 8 * torch.eye(7)[1].expand(4, 7))


def test_a_model_that_is_nan_is_not_taken_for_the_same():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Linear(4, 6)).eval()
    nn.init.constant_(model[2].weight, torch.nan)
    assert RestOfModel(model, "1", INPUTS).whole is True
