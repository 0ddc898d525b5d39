"""Triggers found at any place of a map, and undone there."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.handler.repair.overlays import (
    REGION,
    SHAPE,
    clean_maps,
    detection,
    overlay,
    pattern,
    triggered,
)
from torchserve_fire.format.bundle import Detection
from torchserve_fire.repair.overlay import MovingProjection, OverlayRemoval, project_anywhere

EVERYWHERE = torch.cartesian_prod(torch.arange(8), torch.arange(8))
"""All places of a map, (64, 2)."""


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def removal_of(of):
    return OverlayRemoval(detection(of), of)


# Projecting at every place ---------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 99),
)
def test_at_every_place_it_is_the_projection_on_the_moved_direction(shape, seed):
    feature, direction = randn(2, *shape, seed=seed), randn(*shape, seed=seed + 100)
    places = MovingProjection(direction, 0.0).places(feature)
    assert places.shape == (2, *shape[1:])
    for down in range(shape[1]):
        for right in range(shape[2]):
            moved = direction.roll((down, right), (1, 2))
            expected = (feature * moved).sum((1, 2, 3))
            assert torch.allclose(places[:, down, right], expected, atol=1e-4)


def test_the_score_is_the_largest_projection():
    feature, direction = randn(5, 2, 6, 7), randn(2, 6, 7, seed=1)
    projection = MovingProjection(direction, 0.0)
    every = [
        (feature * direction.roll((down, right), (1, 2))).sum((1, 2, 3))
        for down in range(6)
        for right in range(7)
    ]
    assert torch.allclose(projection(feature), torch.stack(every).amax(0), atol=1e-4)


def test_moving_the_map_does_not_change_its_score():
    feature, projection = randn(3, *SHAPE), MovingProjection(randn(*SHAPE, seed=1), 0.0)
    for down, right in ((1, 0), (0, 3), (5, 7)):
        moved = feature.roll((down, right), (2, 3))
        assert torch.allclose(projection(moved), projection(feature), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_are_float32(dtype):
    feature, projection = randn(3, *SHAPE).to(dtype), MovingProjection(pattern(), 0.0)
    scores = projection(feature)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, projection(feature.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(projection(feature), scores)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_map_that_is_not_finite_is_flagged_and_no_other(value):
    feature = torch.zeros(3, *SHAPE)
    feature[1, 0, 2, 2] = value
    projection = MovingProjection(pattern(), 1.0)
    assert projection.flags(projection(feature)).tolist() == [False, True, False]


def test_the_spectrum_moves_with_the_module_and_no_map_has_no_score():
    projection = MovingProjection(pattern(), 1.0)
    assert {name for name, _ in projection.named_buffers()} == {"weight", "threshold", "spectrum"}
    assert projection(torch.zeros(0, *SHAPE)).shape == (0,)
    assert project_anywhere(torch.zeros(0, *SHAPE), projection.spectrum).shape == (0, 8, 8)


# Undoing it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.0, -0.5, 0.25])
def test_the_clean_map_comes_back_from_any_place(slope):
    of, clean = overlay(slope), clean_maps(64)
    stamped = triggered(clean, of, EVERYWHERE)
    assert (stamped != clean).any()
    assert torch.allclose(removal_of(of)(stamped), clean, atol=1e-5)


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.4, 1.25, (1.0, 0.5), (0.5, 1.0), (1.0, 0.0)])
def test_what_is_added_is_taken_back_as_strong_as_it_is_in_each_channel(gain):
    of, clean = overlay(), clean_maps(64)
    gains = torch.as_tensor(gain).expand(2).view(1, 2, 1, 1)
    stamped = triggered(clean, of, EVERYWHERE, gains)
    assert torch.allclose(removal_of(of)(stamped), clean, atol=1e-5)


@pytest.mark.parametrize("slope", [-0.25, -0.1, 0.25])
@pytest.mark.parametrize("gain", [0.5, (1.0, 0.5), 1.2])
def test_of_a_blended_trigger_little_is_left(slope, gain):
    # The gain is right to within .06, so as much of the trigger may be left, scaled up.
    of, clean = overlay(slope), clean_maps(64)
    gains = torch.as_tensor(gain).expand(2).view(1, 2, 1, 1)
    stamped = triggered(clean, of, EVERYWHERE, gains)
    assert (removal_of(of)(stamped) - clean).abs().max() < 0.06 * (1 + abs(slope)) + 1e-4


def test_a_trigger_stronger_than_any_that_is_tried_is_undone_in_several_steps():
    of, clean = overlay(), clean_maps(8)
    stamped = triggered(clean, of, EVERYWHERE[:8], 2.0)
    assert torch.allclose(removal_of(of)(stamped), clean, atol=1e-5)


def test_without_a_trigger_the_map_comes_back_bit_for_bit():
    removal, maps = removal_of(overlay()), clean_maps(16) + 0.01 * randn(16, *SHAPE)
    assert torch.equal(removal(maps), maps)
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(removal(maps.to(dtype)), maps.to(dtype))
    assert removal(maps[:0]).shape == (0, *SHAPE)


def test_clean_maps_beside_triggered_ones_come_back_bit_for_bit():
    of, clean = overlay(-0.5, limit=1.0), 0.5 * clean_maps(8)
    mixed = clean.clone()
    mixed[1::2] = triggered(clean[1::2], of, EVERYWHERE[20:24])
    # Beyond the ends of the range, which only a map that is repaired is cut to.
    mixed[0, 0, 0] = 1.5
    cleaned = removal_of(of)(mixed)
    assert torch.equal(cleaned[::2], mixed[::2])
    assert (cleaned[1::2] != mixed[1::2]).flatten(1).any(1).all()


def test_a_map_that_is_not_finite_stays_and_disturbs_no_other():
    of, clean = overlay(), clean_maps(3)
    stamped = triggered(clean, of, EVERYWHERE[:3])
    stamped[1, 0, 0, 0] = torch.nan
    cleaned = removal_of(of)(stamped)
    assert torch.equal(cleaned[1].isnan(), stamped[1].isnan())
    assert torch.allclose(cleaned[::2], clean[::2], atol=1e-5)


@pytest.mark.parametrize("second", [(4, 0), (0, 4), (4, 4)])
def test_two_places_in_one_map(second):
    of, clean = overlay(), clean_maps(4)
    once = triggered(clean, of, [(0, 0)] * 4)
    twice = triggered(once, of, [second] * 4)
    assert torch.allclose(removal_of(of)(twice), clean, atol=1e-5)
    # Of other strengths, too.
    twice = triggered(once, of, [second] * 4, 0.5)
    assert torch.allclose(removal_of(of)(twice), clean, atol=1e-5)


def test_each_map_of_a_batch_is_what_it_is_alone():
    of, clean = overlay(-0.4, limit=1.2), clean_maps(12)
    gains = torch.linspace(0.5, 1.2, 12).view(-1, 1, 1, 1)
    stamped = triggered(clean, of, EVERYWHERE[5:53:4], gains)
    removal = removal_of(of)
    together = removal(stamped)
    for i in range(12):
        assert torch.allclose(removal(stamped[i : i + 1])[0], together[i], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_half_precision(dtype):
    of, clean = overlay(), clean_maps(8)
    cleaned = removal_of(of)(triggered(clean, of, EVERYWHERE[:8]).to(dtype))
    assert cleaned.dtype == dtype
    assert torch.allclose(cleaned.float(), clean, atol=0.02)


def test_autocast_does_not_reach_it():
    of, clean = overlay(-0.3), clean_maps(4)
    stamped, removal = triggered(clean, of, EVERYWHERE[:4]), removal_of(of)
    expected = removal(stamped)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(removal(stamped), expected)


# Where nothing is left of the clean map ---------------------------------------------------------


def test_what_a_patch_covers_is_filled_in_from_around_it():
    of = overlay(slope=-1.0)
    clean = torch.full((64, *SHAPE), 0.3)
    stamped = triggered(clean, of, EVERYWHERE)
    cleaned = removal_of(of)(stamped)
    covered = torch.stack(
        [of.slope.roll((down, right), (1, 2)) != 0 for down, right in EVERYWHERE.tolist()]
    )
    assert torch.equal(cleaned[~covered], clean[~covered])
    assert torch.allclose(cleaned, clean, atol=1e-4)


def test_what_a_patch_covers_does_not_matter():
    of, first, second = overlay(slope=-1.0), clean_maps(4), clean_maps(4)
    second[REGION] += randn(4, *second[REGION].shape[1:])
    removal, place = removal_of(of), [(0, 0)] * 4
    one, other = (removal(triggered(maps, of, place)) for maps in (first, second))
    assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_was_cut_off_is_filled_in_within_what_it_can_have_been(sign):
    of = overlay(size=0.5, limit=1.0)
    clean = 0.75 * sign + 0.1 * clean_maps(64)
    stamped = triggered(clean, of, EVERYWHERE)
    cut_off = stamped == sign
    assert cut_off.flatten(1).any(1).all()
    cleaned = removal_of(of)(stamped)
    assert torch.allclose(cleaned[~cut_off], clean[~cut_off], atol=1e-5)
    # It was .5 at least, since the trigger adds .5, and the end of the range at most.
    size = sign * cleaned[cut_off]
    assert size.min() >= 0.5 - 0.03 * 2 - 1e-5
    assert size.max() <= 1.0
    assert torch.allclose(cleaned, clean, atol=0.2)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_was_cut_off_is_no_nearer_to_the_middle_than_the_trigger_pushed_it(sign):
    of = overlay(size=0.2, limit=1.0)
    clean = torch.full((1, *SHAPE), 0.2 * sign)
    # One row at which the trigger leaves the range, between rows that would be filled in there.
    clean[:, :, 3] = 0.9 * sign
    stamped = triggered(clean, of, [(0, 0)])
    cut_off = stamped == sign
    assert int(cut_off.sum()) == 4
    place, gain = torch.tensor([0]), torch.ones(1, 2, 1, 1)
    cleaned, filled = removal_of(of)._undo(stamped, place, gain)
    assert torch.equal(filled, cut_off)
    size = sign * cleaned[cut_off]
    assert size.min() >= 1 - 0.2 - 0.03 * 2 - 1e-5
    assert size.max() <= 1.0
    assert torch.allclose(cleaned[~cut_off], clean[~cut_off], atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_leaves_the_range(seed):
    of, clean = overlay(-0.6, limit=1.0), clean_maps(64, seed)
    gain = 1.2 * torch.rand(64, 2, 1, 1, generator=torch.Generator().manual_seed(seed))
    noisy = triggered(clean, of, EVERYWHERE, gain) + 0.05 * randn(64, *SHAPE, seed=seed)
    cleaned = removal_of(of)(noisy.clamp(-1, 1))
    assert cleaned.isfinite().all()
    assert cleaned.abs().max() <= 1.0


def test_a_patch_of_zeros_is_undone_too():
    # It adds nothing: what shows it is what it takes away.
    of = overlay(slope=-1.0)
    of = replace(of, direction=torch.zeros(SHAPE), gauges=-of.gauges)
    clean = torch.full((1, *SHAPE), 0.5)
    clean[0, 1] = -0.5
    clean[0] += pattern()[:].abs() * 0.5
    stamped = clean * (1 + of.slope)
    weight = torch.zeros(SHAPE)
    weight[0][REGION[1:]], weight[1][REGION[1:]] = -1 / 24, 1 / 24
    removal = OverlayRemoval(Detection(weight, -0.2, anywhere=True), of)
    cleaned = removal(stamped)
    assert cleaned.isfinite().all()
    assert torch.equal(cleaned[of.slope[None] == 0], clean[of.slope[None] == 0])
    assert (cleaned - stamped).abs()[of.slope[None] != 0].min() > 0.3
