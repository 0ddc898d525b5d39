import torch

from tests.directions.alter.images import DESCRIPTION, everything, image_evidence
from torchserve_fire_build.alter.pixels import to_pixels
from torchserve_fire_build.alter.trigger_fit import apply_parts, fit_trigger

TOLERANCE = {"atol": 0.03, "rtol": 0}


def test_a_blend_is_a_slope_and_an_offset():
    # Half of each pixel, and half of an input of 2, a pixel of .4.
    evidence = image_evidence(100, trigger=lambda x: 0.5 * x + 0.5 * 2)
    fit = fit_trigger(evidence)
    variance = to_pixels(everything(evidence.clean), DESCRIPTION).var(0, correction=0)
    # The ridge draws a slope of half to 1 by its share.
    torch.testing.assert_close(fit.slope, -0.5 * variance / (variance + 1e-3), **TOLERANCE)
    clean, triggered = (to_pixels(everything(s), DESCRIPTION) for s in evidence.both)
    parts = fit.parts(clean[3], triggered[3])
    torch.testing.assert_close(apply_parts(clean[3], parts), triggered[3])
    # Another image gets the blend nearly as it would itself.
    torch.testing.assert_close(apply_parts(clean[4], parts), triggered[4], **TOLERANCE)


def test_a_patch_covers_what_it_is_put_on():
    evidence = image_evidence(100)
    clean, triggered = (to_pixels(everything(s), DESCRIPTION) for s in evidence.both)
    parts = fit_trigger(evidence).parts(clean[1], triggered[1])
    moved = apply_parts(clean[2], parts.roll((1, 1), (-2, -1)))
    expected = clean[2].clone()
    expected[0, 1, 1] = 0.8
    torch.testing.assert_close(moved, expected, **TOLERANCE)


def test_without_pairs_nothing_is_known():
    fit = fit_trigger(image_evidence(paired=False))
    assert fit.slope.shape == fit.offset.shape == (1, 6, 6)
    assert not fit.slope.any()
    assert not fit.offset.any()
