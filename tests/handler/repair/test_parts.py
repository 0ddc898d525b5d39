from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field

import pytest
import torch
from transformers.modeling_outputs import ImageClassifierOutput

from torchserve_fire.repair.parts import parts_of, same_structure, with_parts

Pair = namedtuple("Pair", "a b")


@dataclass(frozen=True)
class Frozen:
    a: int
    b: int
    total: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "total", self.a + self.b)


@pytest.mark.parametrize(
    "value", [(1, 2), [1, 2], Pair(1, 2), {"a": 1, "b": 2}, OrderedDict(a=1, b=2)]
)
def test_parts_are_taken_and_put_back(value):
    assert parts_of(value) == [1, 2]
    other = with_parts(value, [3, 4])
    assert type(other) is type(value)
    assert parts_of(other) == [3, 4]
    assert parts_of(value) == [1, 2]
    assert same_structure(value, other)


def test_a_dataclass_that_cannot_be_made_anew_from_its_parts():
    value = Frozen(1, 2)
    assert parts_of(value) == [1, 2, 3]
    other = with_parts(value, [5, 6, 7])
    assert (other.a, other.b, other.total) == (5, 6, 7)
    assert (value.a, value.total) == (1, 3)
    assert same_structure(value, other)


def test_an_output_of_transformers_keeps_names_and_attributes():
    value = ImageClassifierOutput(logits=torch.zeros(2, 3), hidden_states=(torch.ones(2),))
    other = with_parts(value, [torch.ones(2, 3), (torch.zeros(2),)])
    assert type(other) is ImageClassifierOutput
    assert other.logits.sum() == 6
    assert other["logits"] is other.logits
    assert other.hidden_states[0].sum() == 0
    assert other.loss is None


@pytest.mark.parametrize("value", [torch.zeros(2), 5, "text", None, Frozen])
def test_others_have_no_parts(value):
    assert parts_of(value) is None
    assert not same_structure(value, value)


@pytest.mark.parametrize(
    ("one", "other"), [((1,), [1]), ((1,), (1, 2)), ({"a": 1}, {"b": 1}), (Pair(1, 2), (1, 2))]
)
def test_other_structures(one, other):
    assert not same_structure(one, other)
