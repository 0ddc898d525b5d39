import math

import pytest
import torch
from torch import nn

from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.scan import feature_shifts
from torchserve_fire_build.scan.feature_shifts import PER_CLASS, shift_losses
from torchserve_fire_build.scan.rest_of_model import RestOfModel

CLASSES = 5
FEATURES = torch.eye(CLASSES).repeat(8, 1) + 0.1
PREDICTED = torch.arange(len(FEATURES)) % CLASSES


def net(weights=(1, 1, 1, 1, 1)):
    """Features are the inputs, as they are; class c reads feature c, so many times."""
    model = nn.Sequential(nn.Linear(CLASSES, CLASSES), nn.Linear(CLASSES, CLASSES)).eval()
    with torch.no_grad():
        for layer, values in zip(model, (torch.ones(CLASSES), torch.tensor(weights)), strict=True):
            layer.weight.copy_(torch.diag(values))
            layer.bias.zero_()
    return model.requires_grad_(False)


def losses(model=None, length=1.0, predicted=PREDICTED, classes=CLASSES, seed=0):
    rest = RestOfModel(net() if model is None else model, "0", FEATURES)
    generator = torch.Generator().manual_seed(seed)
    return shift_losses(rest, FEATURES, predicted, classes, length, generator)


def test_the_class_that_features_reach_with_least_has_the_least_loss():
    found = losses(net((1, 1, 4, 1, 1)))
    assert found.shape == (CLASSES,)
    assert found.dtype == torch.float64
    assert int(found.argmin()) == 2
    assert float(found[2]) < 0.5 * float(found.median())


def test_without_a_length_nothing_is_shifted():
    usual = nn.functional.cross_entropy(FEATURES[:1], torch.tensor([1]))
    torch.testing.assert_close(losses(length=0), usual.double().expand(CLASSES))


def test_a_shift_goes_as_far_as_it_may_and_no_further():
    # A model with logits (x, 0): the best shift adds its whole length to x.
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 2)).eval().requires_grad_(False)
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]))
        model[1].bias.zero_()
    features = torch.tensor([[-1.0, 0, 0, 0], [-1, 0, 0, 2]]).repeat(10, 1)
    deviation = math.sqrt(float(features.var(0).mean()))
    rest = RestOfModel(model, "0", features)
    predicted = torch.ones(20, dtype=torch.long)
    found = shift_losses(rest, features, predicted, 2, 0.5, torch.Generator())
    # Of four features, the length is twice the root mean square.
    expected = math.log1p(math.exp(1 - 0.5 * 2 * deviation))
    assert float(found[0]) == pytest.approx(expected, rel=1e-4)
    assert math.isnan(float(found[1]))


def test_a_class_that_all_inputs_are_predicted_as_has_no_loss():
    found = losses(predicted=torch.full((len(FEATURES),), 2))
    assert found.isnan().tolist() == [False, False, True, False, False]


def test_fewer_inputs_than_are_shifted_are_taken_again():
    # Of the other class, there is a single input.
    predicted = torch.zeros(len(FEATURES), dtype=torch.long)
    predicted[7] = 3
    found = losses(length=0, predicted=predicted)
    logits = FEATURES[7:8]
    expected = nn.functional.cross_entropy(logits, torch.tensor([0]))
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("together", [1, 2, 4])
def test_classes_that_take_turns_have_the_same_losses(monkeypatch, together):
    model = net((1, 2, 3, 1, 2))
    at_once = losses(model)
    most = []

    def watch(module, args, output):
        most.append(len(output))

    model[1].register_forward_hook(watch)
    monkeypatch.setattr(feature_shifts, "MOST_VALUES", together * PER_CLASS * CLASSES)
    torch.testing.assert_close(losses(model), at_once)
    assert max(most) == together * PER_CLASS


def test_as_many_inputs_as_wanted_are_shifted():
    model, seen = net(), []
    model[1].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    rest = RestOfModel(model, "0", FEATURES)
    seen.clear()
    shift_losses(rest, FEATURES, PREDICTED, CLASSES, 1.0, torch.Generator(), each=3)
    assert set(seen) == {3 * CLASSES}


def test_progress_counts_each_class_that_can_be_searched(monkeypatch):
    monkeypatch.setattr(feature_shifts, "MOST_VALUES", 2 * PER_CLASS * CLASSES)
    rest, done = RestOfModel(net(), "0", FEATURES), []
    generator = torch.Generator().manual_seed(0)
    shift_losses(rest, FEATURES, PREDICTED, CLASSES, 1.0, generator, done=done.append)
    assert done == [2, 2, 1]


def test_only_the_seed_decides():
    model = net()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = losses(model, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(losses(model, seed=3), first)


def test_logits_that_are_nan_are_no_losses():
    class Fragile(nn.Sequential):
        def forward(self, x):
            logits = super().forward(x)
            return logits.masked_fill(logits > 1.2, torch.nan)

    with pytest.raises(CalibrationError, match="layer '0': the model's logits are NaN"):
        losses(Fragile(*net()).eval(), length=2.0)
