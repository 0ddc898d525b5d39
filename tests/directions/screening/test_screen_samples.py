import pytest
import torch

from tests.directions.backdoored import clean_inputs, labels_of, stamp
from tests.directions.backdoored_nets import backdoored
from tests.directions.messages import one_line
from torchserve_fire.errors import AttachError
from torchserve_fire_build.common.errors import CalibrationError, SamplesError
from torchserve_fire_build.samples.tensor_samples import TensorSamples
from torchserve_fire_build.screening.screen_samples import screen_samples

KINDS = ("vector", "token", "map")


def samples(kind, count, seed, *, triggered=False):
    inputs = clean_inputs(kind, labels_of(count), seed)
    return TensorSamples(stamp(kind, inputs) if triggered else inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_triggered_pictures_are_found_and_clean_ones_are_not(kind):
    model, clean = backdoored(kind), samples(kind, 120, seed=0)
    found = screen_samples(model, clean, samples(kind, 30, seed=1, triggered=True))
    assert (found.found, found.suspects) == (True, [0])
    assert found.predicted.tolist() == [0] * 30
    assert screen_samples(model, clean, samples(kind, 30, seed=2)).found is False


def test_a_picture_that_is_among_the_clean_samples_is_refused():
    clean = samples("vector", 40, seed=0)
    pictures = TensorSamples(
        torch.cat([clean_inputs("vector", labels_of(3), 1), clean.load([7])]),
        names=["a", "b", "c", "d"],
    )
    with pytest.raises(SamplesError) as caught:
        screen_samples(backdoored("vector"), clean, pictures)
    one_line(caught, "d: is the same as 7 of the clean samples")
    twice = TensorSamples(clean.load([7, 8]), names=["a", "b"])
    with pytest.raises(SamplesError) as caught:
        screen_samples(backdoored("vector"), clean, twice)
    one_line(caught, "(in all, 2 samples are)")


@pytest.mark.parametrize("kind", KINDS)
def test_triggered_samples_are_no_clean_ones_to_compare_with(kind):
    with pytest.raises(SamplesError) as caught:
        screen_samples(
            backdoored(kind),
            samples(kind, 40, seed=0, triggered=True),
            samples(kind, 10, seed=1, triggered=True),
        )
    one_line(caught, "calls all 40 clean samples class 0", "are these triggered?")


def test_copies_count_once(logged):
    inputs = clean_inputs("vector", labels_of(3), 1)
    pictures = TensorSamples(torch.cat([inputs, inputs[:2]]), names=["a", "b", "c", "d", "e"])
    found = screen_samples(backdoored("vector"), samples("vector", 40, seed=0), pictures)
    assert found.names == ["a", "b", "c"]
    assert logged.messages == ["2 samples are copies of others: left out"]


def test_a_picture_on_which_the_model_fails_is_named():
    model = backdoored("vector")
    inputs = clean_inputs("vector", labels_of(2), 1)
    inputs[1, 2] = 3e38
    with torch.no_grad():
        model.mix.weight *= 10
    with pytest.raises(CalibrationError) as caught:
        screen_samples(
            model, samples("vector", 40, seed=0), TensorSamples(inputs, names=["a.png", "b.png"])
        )
    one_line(caught, "b.png: the model's features at layer 'mix'", "leave this sample out")


def test_a_model_in_training_mode_is_refused():
    model = backdoored("vector").train()
    clean = samples("vector", 40, seed=0)
    with pytest.raises(AttachError):
        screen_samples(model, clean, clean)
