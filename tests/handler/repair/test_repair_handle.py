"""Two sets of corrections in one model: each pass goes by one, and others are proved beside it."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from torchserve_fire.errors import AttachError, RepairError
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.repair.attach_layers import attach_layers, prove_beside


class Doubling(nn.Module):
    """Adds one, and doubles: (x + 1) * 2."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(2))
            self.first.bias.fill_(1)
            self.second.weight.copy_(2 * torch.eye(2))

    def forward(self, x):
        return self.second(self.first(x))


def layer(name: str, step: float, threshold: float = 5.0) -> Layer:
    detection = Detection(torch.tensor([1.0, 0]), threshold)
    return Layer(name, (2,), detection, Shift(torch.tensor([1.0, 0]), step))


EXAMPLE, TRIGGERED = torch.zeros(1, 2), torch.tensor([[9.0, 0], [0, 0]])
FIRST, SECOND = layer("first", 10.0), layer("second", 15.0)
BY_FIRST, BY_SECOND = [[0.0, 2], [2, 2]], [[5.0, 2], [2, 2]]


@pytest.fixture
def model() -> nn.Module:
    return Doubling().eval()


def answers(model) -> list:
    with torch.no_grad():
        return model(TRIGGERED).tolist()


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def hooks(model) -> dict[str, int]:
    return {name: len(module._forward_hooks) for name, module in model.named_modules()}


def test_others_are_proved_beside_those_in_use_and_then_used(model):
    with attach_layers(model, [FIRST], EXAMPLE) as handle:
        first, before = handle.in_use, answers(model)
        other = prove_beside(handle, model, [SECOND], EXAMPLE)
        assert other.passes == 1
        assert handle.in_use is first
        assert answers(model) == before == BY_FIRST
        with handle.choosing(other):
            assert answers(model) == BY_SECOND
            assert handle.verdict is other.verdict
            # What one thread chooses is none of another's.
            assert in_a_thread(lambda: answers(model)) == BY_FIRST
        assert answers(model) == BY_FIRST
        handle.use(other)
        assert answers(model) == in_a_thread(lambda: answers(model)) == BY_SECOND
        assert hooks(model) == {"": 2, "first": 1, "second": 1}
        handle.unhook_others()
        assert hooks(model) == {"": 2, "first": 0, "second": 1}
        assert answers(model) == BY_SECOND
    assert set(hooks(model).values()) == {0}


def test_a_pass_goes_on_by_what_it_began_with(model):
    with attach_layers(model, [FIRST], EXAMPLE) as handle:
        other = prove_beside(handle, model, [SECOND], EXAMPLE)
        removable = model.first.register_forward_pre_hook(lambda *_: handle.use(other))
        assert answers(model) == BY_FIRST
        removable.remove()
        assert answers(model) == BY_SECOND


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([layer("third", 1.0)], "layer 'third'"),
        ([SECOND, layer("third", 1.0, 1.0)], "several layers detect"),
        ([Layer("second", (3,), None, Shift(torch.ones(3), 1.0))], "features of shape"),
        ([layer("second", float("inf"))], "the correction leaves the range"),
    ],
)
def test_what_does_not_work_leaves_no_trace(model, layers, reason):
    with attach_layers(model, [FIRST], EXAMPLE) as handle:
        before, first = hooks(model), handle.in_use
        with pytest.raises(AttachError, match=reason):
            prove_beside(handle, model, layers, EXAMPLE)
        with pytest.raises(AttachError, match="the example is not one forward pass"):
            prove_beside(handle, model, [SECOND], lambda: None)
        assert hooks(model) == before
        assert handle.in_use is first
        assert answers(model) == BY_FIRST


def test_verdicts_and_passes_are_of_the_latest_pass_of_a_thread(model):
    with attach_layers(model, [FIRST], EXAMPLE) as handle:
        with pytest.raises(RepairError, match="no forward pass was made"):
            _ = handle.verdict
        made = handle.passes_made
        answers(model)
        assert handle.verdict.flagged.tolist() == [True, False]
        assert handle.passes_made == made + 1
        assert in_a_thread(lambda: handle.passes_made) == 0


def test_a_model_with_other_corrections_chosen_is_not_copied(model):
    with attach_layers(model, [FIRST], EXAMPLE) as handle:
        handle.use(prove_beside(handle, model, [SECOND], EXAMPLE))
        with pytest.raises(RepairError, match="cannot be copied or saved: detach"):
            copy.deepcopy(model)
