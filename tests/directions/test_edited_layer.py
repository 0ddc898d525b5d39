import pytest
import torch
from torch import nn

from directions.edited_layer import edited
from handler.errors import AttachError


class Pair(nn.Module):
    """A layer that returns a tensor and something beside it."""

    def forward(self, x):
        return x, "beside"


def test_a_layer_is_edited_only_inside():
    model = nn.Sequential(nn.Identity(), nn.Flatten())
    x = torch.ones(2, 3)
    with edited(model, "0", lambda features: 2 * features):
        assert torch.equal(model(x), 2 * x)
    assert torch.equal(model(x), x)


def test_what_a_layer_returns_beside_its_features_stays():
    model = nn.Sequential(Pair())
    with edited(model, "0", lambda features: features + 1):
        features, beside = model(torch.zeros(1, 2))
    assert features.tolist() == [[1, 1]]
    assert beside == "beside"


def test_an_unknown_layer_is_refused():
    with pytest.raises(AttachError, match="none"), edited(nn.Sequential(), "none", torch.clone):
        pass
