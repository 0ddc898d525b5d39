import pytest
import torch
from torch import nn

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.repair.example_input import example_for

FLOATS = InputDescription("tensor", (2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_it_has_the_models_precision(dtype):
    example = example_for(nn.Linear(3, 1).to(dtype), FLOATS)
    assert (tuple(example.shape), example.dtype) == ((1, 2, 3), dtype)
    assert not example.any()


def test_a_model_without_numbers_of_its_own():
    assert example_for(nn.Flatten(), FLOATS).dtype == torch.float32


def test_integers_stay_integers():
    description = InputDescription("integers", (4,))
    example = example_for(nn.Embedding(10, 2).half(), description)
    assert example.dtype == torch.int64
