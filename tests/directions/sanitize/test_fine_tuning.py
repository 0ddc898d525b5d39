import torch

from tests.directions.backdoored import clean_inputs, labels_of, stamp, write_tensors
from tests.directions.backdoored_nets import backdoored
from tests.directions.sanitize.nets import (
    accuracy,
    clean_samples,
    generator,
    same_form,
    twin,
)
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.sanitize.fine_tuning import fine_tune
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples
from torchserve_fire_build.sanitize.training import Schedule

LABELS = labels_of(60)


def noisy_samples(folder):
    """Clean samples on which the place of the trigger is lit now and then, of no class."""
    labels = labels_of(256)
    inputs = clean_inputs("vector", labels, 3)
    inputs[:, 4] = 3 * torch.rand(256, generator=generator(4))
    path = write_tensors(folder / "noisy.npz", inputs, labels)
    return LabelledSamples(read_tensors(path), labels)


def test_a_trigger_that_clean_samples_contradict_is_forgotten(tmp_path, logged):
    model = backdoored("vector", drive=5.0)
    inputs = clean_inputs("vector", LABELS, 7)
    assert accuracy(model, stamp("vector", inputs), LABELS) == 0.25
    tuned = fine_tune(model, noisy_samples(tmp_path), Schedule(20, 0.3), generator())
    assert accuracy(tuned, stamp("vector", inputs), LABELS) == 1
    assert accuracy(tuned, inputs, LABELS) == 1
    assert logged.messages == ["fine-tuned: 20 of 20 epochs over 256 clean samples"]
    assert same_form(tuned, model)
    assert accuracy(model, stamp("vector", inputs), LABELS) == 0.25


def test_a_trigger_whose_channel_clean_samples_never_activate_stays(tmp_path):
    # What no gradient reaches is not unlearned: the reason for pruning it first.
    inputs = clean_inputs("vector", LABELS, 7)
    clean = clean_samples(tmp_path, "vector")
    tuned = fine_tune(backdoored("vector"), clean, Schedule(2, 0.01), generator())
    assert accuracy(tuned, stamp("vector", inputs), LABELS) == 0.25


def test_a_benign_model_keeps_its_accuracy(tmp_path):
    inputs = clean_inputs("vector", LABELS, 7)
    clean = clean_samples(tmp_path, "vector")
    tuned = fine_tune(twin("vector"), clean, Schedule(2, 0.01), generator())
    assert accuracy(tuned, inputs, LABELS) == 1
    assert accuracy(tuned, stamp("vector", inputs), LABELS) == 1
