import copy
import pickle
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.handler.bundles import small_bundle
from torchserve_fire.errors import AttachError, BundleError, RepairError
from torchserve_fire.format.bundle import Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.model.state_digest import state_digest
from torchserve_fire.repair.attach import attach

CLEAN, TRIGGERED = [1.0, 2.0], [4.0, 2.0]
ONE, OTHER = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])


class Doubling(nn.Module):
    """Doubles the first of two numbers; `head` gives them as they are."""

    def __init__(self, weight=ONE):
        super().__init__()
        self.twice, self.head = nn.Linear(2, 2, bias=False), nn.Identity()
        self.twice.weight = nn.Parameter(weight.clone())
        self.eval()

    def forward(self, x):
        return self.head(self.twice(x))


class Other(Doubling):
    pass


def bundle_for(model, **fields) -> Bundle:
    """Flags where the first number exceeds 6 after doubling, and takes 5 off there."""
    x = torch.tensor([1.0, 0.0])
    layer = Layer("twice", (2,), Detection(x, 6.0), Shift(5 * x, 1.0))
    found = {
        "layers": (layer,),
        "model_class": type(model).__name__,
        "weights_sha256": None,
        "state_sha256": state_digest(model),
        "input": InputDescription("tensor", (2,)),
        "target": 0,
    }
    return replace(small_bundle(), **(found | fields))


def answers(model, *rows):
    with torch.inference_mode():
        return model(torch.tensor(rows)).tolist()


def test_what_is_flagged_is_repaired_and_nothing_else():
    model = Doubling()
    with attach(model, bundle_for(model)) as handle:
        assert answers(model, CLEAN, TRIGGERED) == [[2.0, 2.0], [3.0, 2.0]]
        assert handle.verdict.flagged.tolist() == [False, True]
        assert handle.verdict.scores.tolist() == [2.0, 8.0]
    assert answers(model, TRIGGERED) == [[8.0, 2.0]]


def test_observing_changes_nothing():
    model = Doubling()
    with attach(model, bundle_for(model), mode="observe") as handle:
        assert answers(model, TRIGGERED) == [[8.0, 2.0]]
        assert handle.verdict.flagged.tolist() == [True]


def refused(model, bundle) -> str:
    with pytest.raises(AttachError) as caught:
        attach(model, bundle)
    message = str(caught.value)
    assert "\n" not in message
    assert not any(module._forward_hooks for module in model.modules())
    return message


def test_other_weights_are_refused_with_what_to_do():
    message = refused(Doubling(OTHER), bundle_for(Doubling()))
    assert state_digest(Doubling(OTHER)) in message
    assert state_digest(Doubling()) in message
    assert message.endswith("build a bundle for these weights")
    assert "build a bundle for these weights" in refused(Doubling().half(), bundle_for(Doubling()))


def test_another_class_is_refused_even_with_equal_weights():
    message = refused(Other(), bundle_for(Doubling()))
    assert message.startswith("the bundle was built for a Doubling, the model is a Other: build")


def test_the_weights_of_an_older_bundle_cannot_be_checked_and_that_is_said():
    older = bundle_for(Doubling(), weights_sha256="0" * 64, state_sha256=None)
    model = Doubling(OTHER)
    with pytest.warns(UserWarning, match="no digest of the weights, so they cannot") as said:
        handle = attach(model, older)
    assert said[0].filename == __file__
    with handle:
        assert answers(model, TRIGGERED) == [[3.0, 6.0]]


def test_a_bundle_with_the_digest_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attach(Doubling(), bundle_for(Doubling())).detach()


def test_weights_that_have_no_digest_are_refused():
    class Extra(Doubling):
        def get_extra_state(self):
            return "?"

    bundle = bundle_for(Doubling(), model_class="Extra")
    assert "the weights cannot be checked: state_dict: " in refused(Extra(), bundle)


def test_a_compiled_model_is_the_model_that_was_compiled():
    model = Doubling()
    compiled = torch.compile(model, backend="eager")
    with attach(compiled, bundle_for(model)):
        assert answers(compiled, CLEAN, TRIGGERED) == [[2.0, 2.0], [3.0, 2.0]]


def test_a_model_that_cannot_be_repaired_is_named_as_such_first():
    assert "call model.eval() first" in refused(Doubling(OTHER).train(), bundle_for(Doubling()))


def test_a_function_may_predict_once_in_the_place_of_an_example():
    calls = []
    model = Doubling()

    def predict():
        calls.append(1)
        return model(torch.zeros(3, 2))

    attach(model, bundle_for(model), example=predict).detach()
    assert len(calls) == 2
    attach(model, bundle_for(model), example=torch.ones(5, 2)).detach()


def test_what_is_no_bundle_or_no_model_is_refused():
    model = Doubling()
    with pytest.raises(BundleError, match=r"'b\.safetensors': expected a Bundle, as load_bundle"):
        attach(model, "b.safetensors")
    with pytest.raises(AttachError, match="NoneType: expected a torch"):
        attach(None, bundle_for(model))


@pytest.mark.parametrize("only_target", [True, False])
@pytest.mark.parametrize("as_function", [True, False])
def test_an_example_without_an_input_proves_nothing(only_target, as_function):
    model, none = Doubling(), torch.zeros(0, 2)
    bundle = bundle_for(model)
    detection = replace(bundle.layers[0].detection, only_target=only_target)
    bundle = replace(bundle, layers=(replace(bundle.layers[0], detection=detection),))
    with pytest.raises(AttachError, match="holds no input, expected one or more"):
        attach(model, bundle, example=(lambda: model(none)) if as_function else none)
    with pytest.raises(AttachError, match="example: list, expected a Tensor, or a function"):
        attach(model, bundle, example=[1, 2])
    assert answers(model, TRIGGERED) == [[8.0, 2.0]]


@pytest.mark.parametrize("mode", ["repair", "observe"])
def test_after_a_pass_that_raised_a_layer_runs_outside_a_pass(mode):
    model = Doubling()
    with attach(model, bundle_for(model), mode=mode):
        for _ in range(2):
            with pytest.raises(RepairError, match="outside a forward pass"):
                model.forward(torch.tensor([TRIGGERED]))
            with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
                model(torch.zeros(1, 3))
        assert answers(model, CLEAN) == [[2.0, 2.0]]
    assert not model._forward_hooks_always_called


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_attached_model_is_neither_traced_nor_copied_nor_saved():
    model = Doubling()
    with attach(model, bundle_for(model)):
        with pytest.raises(RepairError, match="cannot be traced: detach"):
            torch.jit.trace(model, torch.tensor([CLEAN]))
        for copy_of in (copy.deepcopy, pickle.dumps):
            with pytest.raises(RepairError, match="cannot be copied or saved: detach"):
                copy_of(model)
        assert answers(model, TRIGGERED) == [[3.0, 2.0]]
    copied = copy.deepcopy(model)
    assert answers(copied, TRIGGERED) == [[8.0, 2.0]]


class Scaled(Doubling):
    def forward(self, x, scale):
        return super().forward(x) * scale


@pytest.mark.parametrize("by_name", [True, False])
def test_an_argument_for_the_whole_batch_stays_whole_even_if_it_is_as_long(by_name):
    model, scale = Scaled(), torch.tensor([10.0, 1.0])
    bundle = bundle_for(model)
    detection = replace(bundle.layers[0].detection, only_target=True)
    bundle = replace(bundle, layers=(replace(bundle.layers[0], detection=detection),))

    def call(*rows):
        rows = torch.tensor(rows)
        return (model(rows, scale=scale) if by_name else model(rows, scale)).tolist()

    with attach(model, bundle, example=lambda: call(CLEAN, CLEAN, CLEAN)) as handle:
        assert handle.passes == 2
        for rows in ([CLEAN, TRIGGERED], [CLEAN, TRIGGERED, CLEAN]):
            assert call(*rows)[:2] == [[20.0, 2.0], [30.0, 2.0]]
