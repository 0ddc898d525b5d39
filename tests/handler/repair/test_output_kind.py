import pytest
import torch
from torch import nn

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.repair.output_kind import gives_probabilities

TENSOR = InputDescription("tensor", (3,))


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), True),
        (nn.Sequential(nn.Linear(3, 2)), False),
        (nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)).half(), True),
        (nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), False),
        (TwoInputs(), False),
    ],
)
def test_a_softmax_at_the_end_is_noticed(model, expected):
    assert gives_probabilities(model, TENSOR) is expected


def test_one_row_that_looks_like_probabilities_does_not_decide():
    class Chance(nn.Module):
        def forward(self, x):
            return torch.cat([torch.tensor([[0.3, 0.7]]), torch.ones(len(x) - 1, 2)])

    assert not gives_probabilities(Chance(), TENSOR)


def test_integers_stay_below_their_limit():
    model = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(6, 2), nn.Softmax(1))
    assert gives_probabilities(model, InputDescription("integers", (3,)), 5)
    assert gives_probabilities(model, InputDescription("integers", (3,)))
