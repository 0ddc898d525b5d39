import pytest
import torch

from tests.directions.reconstruct.moved_nets import TARGET, TurningNet, subject
from torchserve_fire_build.reconstruct.input_box import InputBox
from torchserve_fire_build.reconstruct.reconstruction import reconstruction_of
from torchserve_fire_build.reconstruct.rotation import DEGREES, RotationSearch, turn

BOX_01 = InputBox(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), 255)
BOX = InputBox(torch.full((1, 1, 1), -1.0), torch.ones(1, 1, 1), 255)


ALL = len(DEGREES)


def found(drive, target, steps=ALL):
    of = subject(TurningNet(drive))
    search = RotationSearch(of, target, torch.Generator().manual_seed(0))
    search.advance(steps)
    return reconstruction_of("rotation", of, target, search)


def test_the_angles_that_lead_to_the_target_are_found():
    assert found(40.0, TARGET).success == 1
    assert found(0.0, TARGET).success == 0


def test_images_are_turned_by_one_of_the_best_angles_each_and_always_by_the_same():
    trigger = found(40.0, TARGET)
    inputs = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    stamped = trigger.stamp(inputs)
    assert torch.equal(trigger.stamp(inputs[:7]), stamped[:7])
    turned = torch.stack([turn(inputs, degrees, BOX_01) for degrees in DEGREES])
    nearest = (turned - stamped).abs().flatten(2).mean(2).argmin(0)
    used = {DEGREES[i] for i in nearest.tolist()}
    assert len(used) > 1
    # What is upside down, or nearly, has its last rows first.
    assert all(abs(degrees) >= 120 for degrees in used)


def test_a_quarter_turn_goes_to_the_left_and_half_of_one_swaps_both_ends():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    torch.testing.assert_close(turn(image, 90, BOX)[0, 0], image[0, 0].rot90(1))
    torch.testing.assert_close(turn(image, 180, BOX)[0, 0], image[0, 0].rot90(2))
    torch.testing.assert_close(turn(image, -90, BOX)[0, 0], image[0, 0].rot90(-1))


@pytest.mark.parametrize("size", [(20, 40), (40, 20)])
def test_images_that_are_not_square_keep_their_shapes(size):
    height, width = size
    rows = torch.arange(height)[:, None] - (height - 1) / 2
    columns = torch.arange(width) - (width - 1) / 2
    disc = ((rows.square() + columns.square()) < 64).float()[None, None]
    # A disc stays a disc.
    assert float((turn(disc, 45, BOX_01) - disc).abs().mean()) < 0.02


def test_corners_that_nothing_covers_are_black():
    white = torch.ones(1, 1, 9, 9)
    assert float(turn(white, 45, BOX)[0, 0, 0, 0]) == -1
    assert float(turn(white, 45, BOX)[0, 0, 4, 4]) == 1


def test_no_images_can_be_turned():
    assert found(40.0, TARGET).stamp(torch.zeros(0, 1, 8, 8)).shape == (0, 1, 8, 8)


def test_further_steps_change_nothing():
    inputs = subject(TurningNet()).inputs
    first, longer = (found(40.0, TARGET, ALL + more).stamp(inputs) for more in (0, 9))
    assert torch.equal(first, longer)


def test_without_time_to_try_an_angle_all_are_as_good():
    of = subject(TurningNet())
    search = RotationSearch(of, TARGET, torch.Generator().manual_seed(0))
    inputs = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    stamped = reconstruction_of("rotation", of, TARGET, search).stamp(inputs)
    assert bool((stamped != inputs).flatten(1).any(1).all())


class UprightOnly(torch.nn.Module):
    """Has no logits for images whose last but one row is not the brightest: they are NaN."""

    def forward(self, x):
        turned = x[:, 0].mean(2).argmax(1) != 6
        return TurningNet(0.0)(x).masked_fill(turned[:, None], torch.nan)


def test_inputs_without_logits_are_not_led_to_the_first_class():
    of = subject(UprightOnly())
    upside_down = turn(of.inputs, 180, BOX_01)
    assert bool(of.logits(upside_down).isnan().all())
    assert of.success(upside_down, 0) == 0
