import torch

from torchserve_fire_build.estimate.trigger_fit import (
    CHANGED,
    MIN_SEEN,
    apply_parts,
    fit_trigger,
    limits,
)

LOWER, UPPER = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
TOLERANCE = {"atol": 0.03, "rtol": 0}


def clean_maps(count=200, *, low=0.05, high=0.95):
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(count, 1, 4, 4, generator=generator)


def fitted(clean, triggered):
    return fit_trigger(clean, triggered, LOWER, UPPER)


def stamped(clean, row, column, value):
    triggered = clean.clone()
    triggered[:, :, row, column] = value
    return triggered


def test_a_blend_is_a_slope_and_an_offset():
    clean = clean_maps()
    triggered = 0.5 * clean + 0.5 * 0.4
    fit = fitted(clean, triggered)
    torch.testing.assert_close(fit.slope, torch.full((1, 4, 4), -0.5), **TOLERANCE)
    torch.testing.assert_close(fit.offset, torch.full((1, 4, 4), 0.2), **TOLERANCE)
    parts = fit.parts(clean[3], triggered[3])
    assert parts.shape == (3, 1, 4, 4)
    # With what is left of its own, a pair comes out exactly.
    torch.testing.assert_close(apply_parts(clean[3], parts), triggered[3])
    # Another input gets the blend nearly as it would itself.
    torch.testing.assert_close(apply_parts(clean[4], parts), triggered[4], **TOLERANCE)


def test_a_patch_covers_what_it_is_put_on():
    clean = clean_maps()
    triggered = stamped(clean, 0, 0, 0.8)
    fit = fitted(clean, triggered)
    assert abs(float(fit.slope[0, 0, 0]) + 1) < 0.03
    assert abs(float(fit.offset[0, 0, 0]) - 0.8) < 0.03
    moved = apply_parts(clean[2], fit.parts(clean[1], triggered[1]).roll((1, 1), (-2, -1)))
    torch.testing.assert_close(moved, stamped(clean[2:3], 1, 1, 0.8)[0], **TOLERANCE)


def test_places_that_are_not_changed_have_neither_slope_nor_offset():
    clean = clean_maps()
    fit = fitted(clean, stamped(clean, 0, 0, 0.8))
    for part in (fit.slope, fit.offset):
        assert part.nonzero().tolist() == [[0, 0, 0]]


def test_nothing_is_fitted_where_clean_inputs_never_differ():
    clean = torch.full((20, 1, 4, 4), 0.5)
    fit = fitted(clean, clean + 0.25)
    assert not fit.slope.any()
    torch.testing.assert_close(fit.offset, torch.full((1, 4, 4), 0.25))


def test_what_is_added_is_measured_where_it_is_not_cut_off():
    clean = clean_maps()
    added = clean + 0.4
    assert 0.3 < float((added > 1).float().mean()) < 0.5
    fit = fitted(clean, added.clamp(max=1))
    torch.testing.assert_close(fit.slope, torch.zeros(1, 4, 4), **TOLERANCE)
    torch.testing.assert_close(fit.offset, torch.full((1, 4, 4), 0.4), **TOLERANCE)
    # By all values, it would look as if less were added, and the less the lighter the input.
    by_all = fit_trigger(clean, added.clamp(max=1), LOWER - 1, UPPER + 1)
    assert float(by_all.slope.max()) < -0.15


def test_what_is_taken_away_is_measured_likewise():
    clean = clean_maps()
    fit = fitted(clean, (clean - 0.4).clamp(min=0))
    torch.testing.assert_close(fit.slope, torch.zeros(1, 4, 4), **TOLERANCE)
    torch.testing.assert_close(fit.offset, torch.full((1, 4, 4), -0.4), **TOLERANCE)


def test_of_what_is_always_cut_off_the_side_is_known():
    clean = clean_maps()
    white, black = stamped(clean, 0, 0, 1.0), stamped(clean, 0, 0, 0.0)
    for triggered, offset in ((white, 1), (black, -1)):
        fit = fitted(clean, triggered)
        assert not fit.slope.any()
        # More than the whole range: it stays cut off whatever it is put on.
        assert float(fit.offset[0, 0, 0]) == offset
        assert fit.offset.count_nonzero() == 1


def test_a_few_values_that_are_not_cut_off_are_enough_for_a_fit():
    clean = clean_maps(100, low=0.7)
    triggered = clean.clone()
    for seen in (MIN_SEEN, MIN_SEEN - 1):
        triggered[:, :, 0, 0] = 1.0
        triggered[:seen, :, 0, 0] = clean[:seen, :, 0, 0] + 0.04
        offset = float(fitted(clean, triggered).offset[0, 0, 0])
        assert (offset == 1) == (seen < MIN_SEEN)


def test_a_place_at_the_end_of_its_range_is_not_taken_for_changed():
    clean = clean_maps()
    clean[:, :, 2, 2] = 1.0
    triggered = clean.clone()
    triggered[:, :, 2, 2] -= CHANGED / 2
    fit = fit_trigger(clean, triggered, LOWER, UPPER - CHANGED)
    assert not fit.slope.any()
    assert not fit.offset.any()


def test_the_limits_are_those_of_each_channel_in_clean_and_triggered_inputs():
    clean = torch.tensor([[0.0, 1.0], [2.0, 5.0]]).view(2, 2, 1, 1)
    lower, upper = limits(clean, clean - 3 * (clean == 5) + (clean == 2))
    assert lower.shape == upper.shape == (2, 1, 1)
    assert lower.flatten().tolist() == [0, 1]
    assert upper.flatten().tolist() == [3, 5]
