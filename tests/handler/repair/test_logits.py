from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from transformers.modeling_outputs import ImageClassifierOutput

from torchserve_fire.errors import ModelError
from torchserve_fire.repair.logits import are_probabilities, find_logits

LOGITS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
FEATURES = torch.zeros(2, 128)
Named = namedtuple("Named", "features logits")
Plain = namedtuple("Plain", "score rest")


@dataclass(frozen=True)
class Output:
    features: torch.Tensor
    logits: torch.Tensor


@dataclass
class Unnamed:
    score: torch.Tensor
    maps: torch.Tensor


class WithAttribute:
    logits = LOGITS


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        (LOGITS,),
        [LOGITS],
        (LOGITS, None),
        (torch.zeros(2, 8, 4, 4), LOGITS),
        (torch.zeros(5, 3), LOGITS),
        (torch.zeros(2, 1), LOGITS),
        (LOGITS, torch.zeros(2), "text"),
        {"logits": LOGITS, "features": FEATURES},
        {"output": LOGITS, "maps": torch.zeros(2, 8, 4, 4)},
        Named(FEATURES, LOGITS),
        Plain(LOGITS, 5),
        Output(FEATURES, LOGITS),
        Unnamed(LOGITS, torch.zeros(2, 8, 4)),
        WithAttribute(),
        ImageClassifierOutput(logits=LOGITS, hidden_states=(FEATURES,)),
    ],
)
def test_the_logits_are_found(output):
    assert find_logits(output, 2) is LOGITS


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ((FEATURES, LOGITS), "a tuple of (2, 128), (2, 3)"),
        ({"a": LOGITS, "b": LOGITS}, "a dict of (2, 3), (2, 3)"),
        ({"logits": torch.zeros(2, 7, 3), "b": LOGITS}, "a dict of (2, 7, 3), (2, 3)"),
        (torch.zeros(3, 3), "a tensor (3, 3)"),
        (torch.zeros(2), "a tensor (2,)"),
        (torch.zeros(2, 3, 4), "a tensor (2, 3, 4)"),
        (torch.zeros(2, 3, dtype=torch.int64), "a tensor (2, 3)"),
        ((), "a tuple"),
        ("text", "a str"),
        (None, "a NoneType"),
        ([{"boxes": LOGITS}], "a list of dict"),
    ],
)
def test_what_came_in_their_place_is_said(output, said):
    with pytest.raises(ModelError) as raised:
        find_logits(output, 2)
    assert f"the model's output is {said}, expected logits (2, classes)" in str(raised.value)


def test_any_number_of_rows():
    assert find_logits((LOGITS, torch.zeros(2))) is LOGITS


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0.8, 0.1, 0.1], [0.0, 1.0, 0.0]], True),
        ([[0.8, 0.1, 0.1], [0.8, 0.1, 0.2]], False),
        ([[1.2, -0.1, -0.1]], False),
        ([[1.0], [1.0]], False),
        ([[float("nan"), 1.0]], False),
    ],
)
def test_probabilities_are_told_from_logits(rows, expected):
    assert are_probabilities(torch.tensor(rows)) is expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_softmax_of_many_classes_gives_probabilities(dtype):
    logits = torch.randn(64, 1000, generator=torch.Generator().manual_seed(0))
    assert are_probabilities(logits.softmax(1).to(dtype))
    assert not are_probabilities(logits.abs().to(dtype))
