import pytest
import torch
from torch import nn

from torchserve_fire_build.rivals.outliers import answer_next_where_flagged, features_of
from torchserve_fire_build.rivals.rival import RivalNotApplicable
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def doubling() -> nn.Sequential:
    """Features are twice the inputs, and logits the features."""
    first, head = (nn.Linear(3, 3, bias=False) for _ in range(2))
    with torch.no_grad():
        first.weight.copy_(2 * torch.eye(3))
        head.weight.copy_(torch.eye(3))
    return nn.Sequential(first, head).eval()


def test_what_a_judge_flags_gets_the_next_likeliest_class():
    model = doubling()
    seen = []

    def judge(features, predicted):
        seen.append((features, predicted))
        return features[:, 0] > 5

    inputs = torch.tensor([[3.0, 1, 2], [1, 3, 2], [3, 2, 1]])
    answers = answer_next_where_flagged(model, model[1], judge)(inputs)
    assert answers.predictions.tolist() == [2, 1, 1]
    assert answers.flagged.tolist() == [True, False, True]
    assert answers.passes.tolist() == [1, 1, 1]
    assert torch.equal(seen[0][0], 2 * inputs)
    assert seen[0][1].tolist() == [0, 1, 0]
    assert not model[1]._forward_pre_hooks


def test_features_are_what_the_last_layer_takes():
    model, inputs = doubling(), torch.tensor([[1.0, 2, 3]])
    head, features = features_of(model, TensorSamples(inputs))
    assert head is model[1]
    assert torch.equal(features, 2 * inputs)
    with pytest.raises(RivalNotApplicable, match="does not end in a linear layer"):
        features_of(
            nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten()), TensorSamples(torch.rand(2, 1, 2, 2))
        )
