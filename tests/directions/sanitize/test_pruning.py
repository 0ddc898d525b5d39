import pytest
import torch
from torch import nn

from tests.directions.backdoored import clean_inputs, labels_of, stamp
from tests.directions.backdoored_nets import backdoored
from tests.directions.sanitize.nets import (
    accuracy,
    clean_samples,
    generator,
    same_form,
    twin,
)
from torchserve_fire_build.common.errors import SanitizeError
from torchserve_fire_build.sanitize.pruning import bounded_pruning, find_head, prune

LABELS = labels_of(60)


@pytest.mark.parametrize("kind", ["vector", "token"])
def test_channels_that_only_the_trigger_activates_are_pruned(tmp_path, kind, logged):
    inputs = clean_inputs(kind, LABELS, 7)
    model = backdoored(kind)
    assert accuracy(model, stamp(kind, inputs), LABELS) == 0.25
    pruned = prune(model, clean_samples(tmp_path, kind), generator())
    assert accuracy(pruned, stamp(kind, inputs), LABELS) > 0.85
    assert accuracy(pruned, inputs, LABELS) > 0.85
    (line,) = logged.messages
    assert "held-out clean samples 100.00%" in line
    # The given model is not changed.
    assert accuracy(model, stamp(kind, inputs), LABELS) == 0.25


def test_pruning_only_sets_weights_to_zero(tmp_path):
    model = backdoored("map")
    pruned = prune(model, clean_samples(tmp_path, "map"), generator(), accuracy_loss=0.0)
    assert same_form(pruned, model)
    assert torch.equal(pruned.stem.weight, model.stem.weight)
    weight, before = pruned.head.weight, model.head.weight
    assert ((weight == before) | (weight == 0)).all()
    # The second channel hands on what is brighter than any clean pixel.
    assert (weight[:, 36:] == 0).all()


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_a_benign_model_loses_no_more_accuracy_than_allowed(tmp_path, kind):
    inputs = clean_inputs(kind, LABELS, 7)
    clean = clean_samples(tmp_path, kind)
    pruned = prune(twin(kind), clean, generator(), accuracy_loss=0.0)
    assert accuracy(pruned, inputs, LABELS) == 1


def test_the_more_accuracy_may_be_lost_the_more_channels_are_pruned(tmp_path):
    clean = clean_samples(tmp_path, "vector")
    kept = [
        int(
            prune(backdoored("vector"), clean, generator(), accuracy_loss=loss)
            .head.weight.any(0)
            .sum()
        )
        for loss in (0.0, 0.3, 1.0)
    ]
    # Three of the four classes are recognised without a channel of their own.
    assert kept[0] > kept[1] > kept[2] == 0


def test_channels_are_pruned_in_order_until_the_accuracy_would_fall():
    head = nn.Linear(3, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
        head.bias.zero_()
    inputs, labels = torch.tensor([[1.0, 0, 5], [0, 1, 5]]), torch.tensor([0, 1])
    found = bounded_pruning(head, inputs, labels, torch.tensor([2, 0, 1]), 0.1)
    # Without its channel class 0 still wins the tie; class 1 without its own does not.
    assert found.keep.tolist() == [False, True, False]
    assert (found.before, found.after) == (1, 1)


class Early(nn.Module):
    """A head that is defined first, behind a layer of as many outputs."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(4, 4), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.body(x))


def test_the_head_is_the_linear_layer_that_runs_last(tmp_path):
    model = Early().eval()
    assert find_head(model, clean_samples(tmp_path, "vector").samples) is model.head


def test_a_model_without_a_last_linear_layer_is_refused(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 6), nn.Flatten()).eval()
    with pytest.raises(SanitizeError, match="does not end in a linear layer"):
        prune(model, clean_samples(tmp_path, "map"), generator())


def test_a_head_that_sees_every_token_is_refused(tmp_path):
    class PerToken(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 4)

        def forward(self, x):
            return self.head(x).mean(1)

    with pytest.raises(SanitizeError, match="takes inputs of shape"):
        prune(PerToken().eval(), clean_samples(tmp_path, "token"), generator())


def test_one_sample_is_too_few(tmp_path):
    with pytest.raises(SanitizeError, match="1 sample"):
        prune(backdoored("vector"), clean_samples(tmp_path, "vector", 1), generator())
