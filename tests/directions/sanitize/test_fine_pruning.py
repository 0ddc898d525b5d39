import pytest
import torch

from tests.directions.backdoored import clean_inputs, labels_of, stamp
from tests.directions.backdoored_nets import backdoored
from tests.directions.sanitize.nets import (
    accuracy,
    clean_samples,
    generator,
    same_form,
    twin,
)
from torchserve_fire_build.sanitize.fine_pruning import fine_prune
from torchserve_fire_build.sanitize.training import Schedule

LABELS = labels_of(60)


@pytest.mark.parametrize("make", [backdoored, twin])
def test_pruned_channels_stay_pruned_and_the_rest_is_trained(tmp_path, make, logged):
    model = make("vector")
    inputs = clean_inputs("vector", LABELS, 7)
    tuned = fine_prune(
        model,
        clean_samples(tmp_path, "vector"),
        Schedule(2, 0.05),
        generator(),
        accuracy_loss=0.0,
    )
    assert accuracy(tuned, inputs, LABELS) == 1
    assert accuracy(tuned, stamp("vector", inputs), LABELS) == 1
    assert (tuned.head.weight[:, 4] == 0).all()
    assert not torch.equal(tuned.head.weight[:, :4], model.head.weight[:, :4])
    assert not torch.equal(tuned.mix.weight, model.mix.weight)
    assert same_form(tuned, model)
    assert not tuned.training
    assert [line.split(":")[0] for line in logged.messages] == ["pruned", "fine-tuned"]
