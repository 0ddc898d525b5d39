import pytest
import torch
from torch import nn

from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.samples.predict import (
    differentiable_logits,
    gradients_of,
    logits_of,
    predicted_classes,
)


def half_net():
    """Logits (N, 2) float16: the sum of two values, and their difference."""
    net = nn.Linear(2, 2, bias=False, dtype=torch.float16)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    return nn.Sequential(ToHalf(), net).eval()


class ToHalf(nn.Module):
    def forward(self, x):
        return x.half()


class InTraining(nn.Linear):
    """Returns its logits with others while it is trained."""

    def forward(self, x):
        logits = super().forward(x)
        return {"main": logits, "auxiliary": logits} if self.training else (logits, "aside")


def test_gradients_lead_to_inputs_and_parameters():
    net, inputs = half_net(), torch.tensor([[3.0, 1.0], [0.0, 2.0]], requires_grad=True)
    logits = differentiable_logits(net, inputs)
    assert logits.dtype == torch.float32
    assert logits.tolist() == [[4, 2], [2, -2]]
    torch.autograd.backward(logits[:, 1].sum())
    assert inputs.grad.tolist() == [[1, -1], [1, -1]]
    assert net[1].weight.grad.tolist() == [[0, 0], [3, 3]]
    assert torch.equal(logits_of(net, inputs), logits)


def test_with_other_parameters_the_models_own_do_not_change():
    net, inputs = half_net(), torch.tensor([[3.0, 1.0]], requires_grad=True)
    state = {"1.weight": 2 * net[1].weight.detach()}
    logits = differentiable_logits(net, inputs, state)
    assert logits.tolist() == [[8, 4]]
    torch.autograd.backward(logits.sum())
    assert inputs.grad.tolist() == [[4, 0]]
    assert net[1].weight.grad is None
    assert differentiable_logits(net, inputs).tolist() == [[4, 2]]


def test_a_model_that_returns_several_logits_in_training_mode_is_refused():
    net, inputs = InTraining(2, 2).eval(), torch.zeros(3, 2)
    assert differentiable_logits(net, inputs).shape == (3, 2)
    with pytest.raises(
        CalibrationError, match="InTraining in training mode: the model's output is a dict of"
    ):
        differentiable_logits(net.train(), inputs)


class Failing(nn.Linear):
    def forward(self, x):
        raise IndexError("no such place\nand more")


def test_an_exception_of_the_model_is_reported_in_one_line():
    for run in (logits_of, differentiable_logits):
        with pytest.raises(CalibrationError, match=r"^Failing: .* shape \(2,\): no such place$"):
            run(Failing(2, 2), torch.zeros(3, 2))


def test_gradients_by_hand():
    one, other = (torch.tensor([2.0], requires_grad=True) for _ in range(2))
    assert gradients_of(3 * one.sum(), [one]) == (torch.tensor([3.0]),)
    found = gradients_of(3 * one.sum(), [one, other], unused_are_0=True)
    assert [float(gradient) for gradient in found] == [3, 0]


@pytest.mark.parametrize(
    "cut",
    [lambda x: x.detach() + torch.zeros(1, requires_grad=True), lambda x: x.sigmoid().mul_(2)],
)
def test_a_model_that_lets_no_gradients_through_is_refused(cut):
    inputs = torch.ones(1, 2, requires_grad=True)
    with pytest.raises(CalibrationError, match="differentiable in its input: ") as caught:
        gradients_of(cut(inputs).sum(), [inputs])
    assert "\n" not in str(caught.value)


def test_more_inputs_than_a_batch_are_predicted():
    seen = []

    class Counting(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x

    inputs = torch.eye(3).repeat(50, 1)
    assert predicted_classes(Counting(), inputs).tolist() == [0, 1, 2] * 50
    assert sum(seen) == 150
    assert max(seen) < 150
