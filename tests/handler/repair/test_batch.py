from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.modeling_outputs import ImageClassifierOutput

from torchserve_fire.errors import RepairError
from torchserve_fire.repair.batch import (
    batch_size,
    count_samples,
    holds_samples,
    replace_samples,
    select_samples,
    shared_arguments,
)

Pair = namedtuple("Pair", "logits extra")
INDEX = torch.tensor([0, 2])


@dataclass(frozen=True)
class Output:
    logits: torch.Tensor
    extra: torch.Tensor | None


def test_the_batch_size_is_that_of_the_first_tensor():
    assert batch_size([None, torch.tensor(1.0), torch.zeros(3, 2), torch.zeros(4)]) == 3
    assert batch_size([torch.zeros(0, 2)]) == 0
    assert batch_size([]) is None
    assert batch_size(["x", 1]) is None


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (torch.zeros(3, 2), True),
        (torch.zeros(2, 3), False),
        (torch.tensor(3.0), False),
        ((1, [{"a": torch.zeros(3)}]), True),
        ({"a": torch.zeros(2)}, False),
        (None, False),
        ("abc", False),
    ],
)
def test_whether_there_is_one_row_per_sample(value, held):
    assert holds_samples(value, 3) is held


def test_samples_are_picked_out_of_every_tensor_of_the_batch():
    batch, other = torch.arange(3.0), torch.arange(2.0)
    value = {
        "a": (batch, other),
        "b": [batch],
        "c": Pair(batch, 1),
        "d": None,
        "e": torch.tensor(3),
    }
    picked = select_samples(value, INDEX, 3)
    assert picked["a"][0].tolist() == picked["b"][0].tolist() == [0, 2]
    assert picked["a"][1] is other
    assert isinstance(picked["c"], Pair)
    assert picked["c"].logits.tolist() == [0, 2]
    assert picked["c"].extra == 1
    assert picked["d"] is None
    assert picked["e"] is value["e"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: (t, None),
        lambda t: [t],
        lambda t: Pair(t, None),
        lambda t: {"logits": t},
        lambda t: OrderedDict(logits=t),
        lambda t: {"deep": [(t,)]},
        lambda t: Output(t, None),
        lambda t: ImageClassifierOutput(logits=t),
    ],
)
def test_samples_are_put_back_in_their_places(wrap):
    whole, part = torch.zeros(3, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    merged = replace_samples(wrap(whole), wrap(part), INDEX, 3)
    assert type(merged) is type(wrap(whole))
    assert str(merged) == str(wrap(torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]])))
    assert whole.tolist() == [[0, 0]] * 3


@settings(max_examples=100, deadline=None)
@given(flags=st.lists(st.booleans(), max_size=8))
def test_picking_and_putting_back_restores(flags):
    index = torch.tensor(flags, dtype=torch.bool).nonzero().flatten()
    whole = {"a": torch.randn(len(flags), 3), "b": (torch.randn(len(flags)), torch.tensor(2.0))}
    merged = replace_samples(whole, select_samples(whole, index, len(flags)), index, len(flags))
    assert torch.equal(merged["a"], whole["a"])
    assert torch.equal(merged["b"][0], whole["b"][0])


def test_tensors_that_are_not_of_the_batch_stay():
    scale = torch.tensor(5.0)
    merged = replace_samples((torch.zeros(3), scale), (torch.ones(2), scale + 1), INDEX, 3)
    assert merged[0].tolist() == [1, 0, 1]
    assert merged[1] is scale


def test_the_dtype_of_the_whole_is_kept():
    merged = replace_samples(torch.zeros(3, dtype=torch.float16), torch.ones(2), INDEX, 3)
    assert merged.dtype == torch.float16
    assert merged.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        (torch.zeros(3, 2), torch.zeros(2, 3)),
        (torch.zeros(3, 2), torch.zeros(1, 2)),  # It would be spread over both samples.
        (torch.zeros(3, 2), torch.zeros(2)),
        (torch.zeros(3, 2), torch.zeros(3, 2)),
        (torch.zeros(3), (torch.zeros(2),)),
        ((torch.zeros(3),), (torch.zeros(2), 1)),
        ((torch.zeros(3),), [torch.zeros(2)]),
        ({"a": torch.zeros(3)}, {"b": torch.zeros(2)}),
        ({"a": torch.zeros(3)}, {"a": torch.zeros(2), "b": 1}),
        (torch.zeros(3), None),
        ("a", "a"),
    ],
)
def test_what_does_not_fit_together_is_refused(whole, part):
    with pytest.raises(RepairError, match="cannot be merged"):
        replace_samples(whole, part, INDEX, 3)


@pytest.mark.parametrize(
    ("inputs", "output", "scores", "size"),
    [
        ((torch.zeros(3, 2),), torch.zeros(3, 5), None, 3),
        # Tokens of two texts, one after the other: the scores know, and the output agrees.
        ((torch.zeros(7), torch.zeros(2)), torch.zeros(2, 5), torch.zeros(2), 2),
        # Seven tokens, each scored: the output does not agree.
        ((torch.zeros(2, 3),), torch.zeros(2, 5), torch.zeros(7), 2),
        # A list of images, and a detector's answer for each.
        (([torch.zeros(3, 4, 4)] * 2,), [{"boxes": torch.zeros(0, 4)}] * 2, torch.zeros(2), 2),
    ],
)
def test_how_many_samples_a_model_was_given(inputs, output, scores, size):
    assert count_samples(inputs, output, scores) == size


def test_what_does_not_show_its_samples_is_an_error():
    with pytest.raises(RepairError, match="the model's input holds no tensor"):
        count_samples(("text",), torch.zeros(2), None)


def test_arguments_for_the_whole_batch():
    rows, other = torch.zeros(3, 2), torch.zeros(2)
    kwargs = {
        "mask": None,
        "pair": [other, rows],
        "scale": {"by": (other,)},
        "t": torch.tensor(1.0),
    }
    assert shared_arguments((rows, other, 5), kwargs, 3) == {1, "scale"}
