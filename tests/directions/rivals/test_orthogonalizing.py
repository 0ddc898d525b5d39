import pytest
import torch
from torch import nn

from tests.directions.rivals.nets import (
    accuracy,
    colour_images,
    colour_net,
    generator,
    granted,
    inputs_of,
    is_as_before,
    quadrant_images,
    quadrant_net,
)
from tests.directions.rivals.quadrants import CLEAN, GIVEN, TRIGGERED, build
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.rivals.no_repair import no_repair
from torchserve_fire_build.rivals.orthogonalizing import _written_by_weights, orthogonalizing
from torchserve_fire_build.rivals.rival import RivalNotApplicable


def test_the_backdoor_goes_and_what_is_clean_stays():
    assert accuracy(build(no_repair), TRIGGERED) == 0.25
    defence = build(orthogonalizing)
    assert accuracy(defence, TRIGGERED) == 1
    assert accuracy(defence, CLEAN) == 1


def test_the_model_stays_and_the_same_numbers_come_to_the_same():
    model = quadrant_net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    inputs = inputs_of(TRIGGERED)
    answers, again = (orthogonalizing(model, GIVEN, generator())(inputs) for _ in range(2))
    assert torch.equal(answers.predictions, again.predictions)
    assert answers.flagged is None
    assert answers.passes.tolist() == [1] * len(inputs)
    assert is_as_before(model, before)


def test_what_an_activation_writes_is_no_layer_to_look_at():
    # Neither `relu` nor what comes before the head.
    assert _written_by_weights(colour_net(), torch.zeros(1, 3, 8, 8)) == [
        "net.conv",
        "net.later.0",
        "net.later.1",
    ]


def test_without_such_a_layer_it_is_not_applicable():
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Sigmoid())
    images = quadrant_images(20, seed=0)
    with pytest.raises(RivalNotApplicable, match="weights alone write none"):
        orthogonalizing(model, granted(images, images, images), generator())


def test_samples_that_show_no_trigger_are_refused():
    images = colour_images(40, seed=0)
    with pytest.raises(CalibrationError):
        orthogonalizing(colour_net(), granted(images, images, images, 3), generator())
