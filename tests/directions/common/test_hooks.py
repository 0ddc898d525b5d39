import pytest
import torch
from torch import nn

from torchserve_fire.errors import AttachError
from torchserve_fire_build.common.hooks import (
    edit_features,
    record_features,
    record_inputs,
    record_linear_layers,
)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        self.relu = nn.ReLU(inplace=True)
        nn.init.eye_(self.linear.weight)

    def forward(self, x):
        return self.relu(self.linear(x))


class Pair(nn.Module):
    def forward(self, x):
        return x + 1, "aside"


class Words(nn.Module):
    def forward(self, x):
        return "no tensor"


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def recorded(model, layers, x):
    seen = []
    with record_features(model, layers, lambda name, f: seen.append((name, f.clone()))):
        model(x)
    return seen


def test_features_are_seen_before_a_layer_overwrites_them():
    x = torch.tensor([[1.0, -1.0]])
    seen = recorded(InPlace(), ["relu", "linear"], x)
    assert [(name, f.tolist()) for name, f in seen] == [("linear", [[1, -1]]), ("relu", [[1, 0]])]
    assert not any(f.requires_grad for _, f in seen)


def test_the_first_of_a_tuple_is_the_feature():
    model = nn.Sequential(nn.Identity(), Pair())
    assert recorded(model, ["1"], torch.zeros(1, 2))[0][1].tolist() == [[1, 1]]


def test_an_unknown_layer_leaves_no_hook():
    model = InPlace()
    with (
        pytest.raises(AttachError, match=r"'liner'.*linear"),
        record_features(model, ["relu", "liner"], lambda *_: None),
    ):
        pass
    assert hooks_of(model) == 0


def test_a_layer_that_returns_no_tensor_is_refused():
    model = nn.Sequential(Words())
    with (
        pytest.raises(AttachError, match="'0' returns no tensor"),
        record_features(model, ["0"], lambda *_: None),
    ):
        model(torch.zeros(1, 2))
    assert hooks_of(model) == 0


def test_only_its_own_hooks_are_removed():
    model = InPlace()
    calls = []
    model.relu.register_forward_hook(lambda *_: calls.append(1))
    recorded(model, ["relu"], torch.zeros(1, 2))
    model(torch.zeros(1, 2))
    assert calls == [1, 1]
    assert hooks_of(model) == 1


def test_the_outputs_are_not_changed():
    model, x = InPlace(), torch.tensor([[1.0, -1.0]])
    before = model(x)
    with record_features(model, ["linear"], lambda *_: None):
        assert torch.equal(model(x), before)


def test_inputs_are_seen_before_the_module_overwrites_them():
    model, seen = InPlace(), []
    with record_inputs(model.relu, lambda x: seen.append(x.clone())):
        model(torch.tensor([[1.0, -1.0]]))
        model(torch.tensor([[-2.0, 0.0]]))
    assert [x.tolist() for x in seen] == [[[1, -1]], [[-2, 0]]]
    assert not any(x.requires_grad for x in seen)
    model(torch.zeros(1, 2))
    assert len(seen) == 2
    assert hooks_of(model) == 0


class Tied(nn.Module):
    """Defined in another order than they run in; one runs twice, and one never."""

    def __init__(self):
        super().__init__()
        self.last, self.idle, self.first = nn.Linear(2, 3), nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.last(torch.relu(self.first(self.first(x)))[:, 0])


def test_linear_layers_are_listed_in_the_order_in_which_they_run():
    model = Tied()
    with record_linear_layers(model) as ran:
        model(torch.zeros(5, 4, 2))
    first = (model.first, (5, 4, 2))
    assert ran == [first, first, (model.last, (5, 3))]
    model(torch.zeros(5, 4, 2))
    assert len(ran) == 3
    assert hooks_of(model) == 0


def test_a_model_that_fails_keeps_no_hook():
    model = Tied()
    with pytest.raises(RuntimeError), record_linear_layers(model):
        model(torch.zeros(5, 4, 7))
    with pytest.raises(RuntimeError), record_inputs(model.first, lambda _: None):
        model(torch.zeros(5, 4, 7))
    assert hooks_of(model) == 0


def test_a_layer_is_edited_only_inside_the_block():
    model = nn.Sequential(nn.Identity(), nn.Flatten())
    x = torch.ones(2, 3)
    with edit_features(model, "0", lambda features: 2 * features):
        assert torch.equal(model(x), 2 * x)
    assert torch.equal(model(x), x)


def test_other_outputs_of_an_edited_layer_stay():
    model = nn.Sequential(Pair())
    with edit_features(model, "0", lambda features: features + 1):
        features, beside = model(torch.zeros(1, 2))
    assert features.tolist() == [[2, 2]]
    assert beside == "aside"


def test_an_unknown_layer_cannot_be_edited():
    with (
        pytest.raises(AttachError, match="none"),
        edit_features(nn.Sequential(), "none", torch.clone),
    ):
        pass
