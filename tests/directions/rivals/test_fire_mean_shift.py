import torch

from benchmarks.victims.data import Images
from tests.directions.rivals.nets import (
    accuracy,
    generator,
    granted,
    inputs_of,
    light_some_pixel,
    map_images,
    map_net,
)
from tests.directions.rivals.quadrants import CLEAN, TRIGGERED, build
from torchserve_fire_build.rivals.fire_mean_shift import (
    fire_every_input,
    fire_flagged_inputs,
    shift_by,
)


def test_the_mean_shift_is_taken_off():
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert shift_by(torch.tensor([1.0, -1.0]))(features).tolist() == [[0, 3], [2, 5]]


def test_every_input_is_moved_at_the_layer_that_serves_best():
    # Behind the ReLU the shift of lit north-west quadrants, whose corner is half lit, leaves too
    # much of the others' trigger; before it, none.
    defence = build(fire_every_input)
    assert accuracy(defence, TRIGGERED) == 1
    assert accuracy(defence, CLEAN) == 1


def test_flagged_inputs_take_a_second_pass_and_others_none():
    defence = build(fire_flagged_inputs)
    triggered, clean = (defence(inputs_of(images)) for images in (TRIGGERED, CLEAN))
    assert triggered.flagged.all()
    assert triggered.passes.tolist() == [2] * len(TRIGGERED)
    assert clean.flagged.float().mean() < 0.1
    assert torch.equal(clean.passes, 1 + clean.flagged.float())
    assert accuracy(defence, TRIGGERED) == accuracy(defence, CLEAN) == 1


def test_moving_only_flagged_inputs_spares_those_that_the_shift_would_harm():
    clean = map_images(40, seed=0)
    triggered = light_some_pixel(clean)
    given = granted(clean, triggered, map_images(160, seed=2))
    every, flagged = (
        rival(map_net(), given, generator()) for rival in (fire_every_input, fire_flagged_inputs)
    )
    # All lose the drive of one lit pixel, and without one class 0 goes under.
    assert accuracy(every, triggered) == accuracy(flagged, triggered) == 1
    assert accuracy(every, clean) == 0.75
    assert accuracy(flagged, clean) > 0.95


def test_where_nothing_is_flagged_nothing_is_repeated():
    black = Images(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, dtype=torch.long))
    answers = build(fire_flagged_inputs)(inputs_of(black))
    assert not answers.flagged.any()
    assert answers.passes.tolist() == [1, 1, 1]
