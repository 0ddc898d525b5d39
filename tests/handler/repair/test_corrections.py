import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_fire.format.correction_forms import Affine, Clamp, Local, Shift
from torchserve_fire.repair.corrections import (
    AffineTransport,
    LocalReplacement,
    MeanShift,
    OneSidedClamp,
    Projection,
    build_correction,
    project,
)

SHAPES = [
    ((2, 3, 3), (2, 3, 3)),
    ((2, 3, 3), (2, 1, 1)),
    ((4, 3), (1, 3)),
    ((4, 3), (4, 3)),
    ((5,), (5,)),
]


def test_the_projection_is_the_inner_product():
    feature = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    assert project(feature, torch.tensor([2.0, 1.0])).tolist() == [4.0, 5.0]


def test_a_channel_vector_projects_every_position():
    feature = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]])  # (1, C=2, H=1, W=2)
    assert project(feature, torch.tensor([1.0, 2.0]).view(2, 1, 1)).tolist() == [63.0]


@pytest.mark.parametrize(("shape", "of"), SHAPES)
def test_a_direction_that_broadcasts_is_the_one_written_out(shape, of):
    feature, weight = torch.randn(4, *shape), torch.randn(of)
    whole = weight.expand(shape).contiguous()
    assert torch.allclose(project(feature, weight), project(feature, whole), atol=1e-5)
    assert torch.equal(MeanShift(weight, 0.7)(feature), MeanShift(whole, 0.7)(feature))
    mine = OneSidedClamp(weight, 1.0, threshold=0.1, anchor=-0.2)(feature)
    assert torch.allclose(mine, OneSidedClamp(whole, 1.0, 0.1, -0.2)(feature), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scores_are_float32_and_moved_features_keep_their_dtype(dtype):
    feature = torch.ones(2, 3, dtype=dtype)
    assert project(feature, torch.ones(3)).dtype == torch.float32
    assert MeanShift(torch.ones(3), 1.0)(feature).dtype == dtype
    assert OneSidedClamp(torch.ones(3), 1.0, 0.0, 0.0)(feature).dtype == dtype


def test_scores_of_half_precision_do_not_overflow():
    feature = torch.full((1, 4096), 100.0, dtype=torch.float16)
    assert project(feature, torch.full((4096,), 100.0)).tolist() == [4096 * 1e4]


@pytest.mark.parametrize("weight", [torch.full((4096,), 100.0), torch.full((1,), 100.0)])
def test_autocast_does_not_reach_the_scores(weight):
    feature = torch.full((1, 4096), 100.1)
    exact = project(feature, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(project(feature, weight), exact)
        assert project(feature, weight).dtype == torch.float32


def test_above_the_threshold_is_flagged_and_at_it_is_not():
    scores = torch.tensor([0.9, 1.0, 1.1, math.nan, math.inf, -math.inf])
    flags = Projection(torch.ones(1), 1.0).flags(scores)
    assert flags.tolist() == [False, False, True, True, True, True]


def test_the_mean_shift_by_hand():
    moved = MeanShift(torch.tensor([1.0, -2.0]), 0.5)(torch.tensor([[3.0, 3.0]]))
    assert moved.tolist() == [[2.5, 4.0]]


def test_the_clamp_by_hand():
    # u = (0.6, 0.8). (3, 4) has s = 5 > 2 and goes back to s = 1; (1, 1) has s = 1.4 and stays.
    clamp = OneSidedClamp(torch.tensor([3.0, 4.0]), 1.0, threshold=2.0, anchor=1.0)
    moved = clamp(torch.tensor([[3.0, 4.0], [1.0, 1.0], [-3.0, -4.0]]))
    assert torch.allclose(moved[0], torch.tensor([0.6, 0.8]))
    assert moved[1:].tolist() == [[1.0, 1.0], [-3.0, -4.0]]
    half = OneSidedClamp(torch.tensor([3.0, 4.0]), 0.5, threshold=2.0, anchor=1.0)
    assert torch.allclose(half(torch.tensor([[3.0, 4.0]])), torch.tensor([[1.8, 2.4]]))


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 1000),
    strength=st.floats(0, 2),
    threshold=st.floats(-2, 2),
    scale=st.sampled_from((1e-30, 1e-5, 1.0, 1e5, 1e30)),
)
def test_the_clamp_moves_along_the_direction_to_the_anchor_whatever_its_length(
    seed, strength, threshold, scale
):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(16, 5, generator=generator)
    direction = torch.randn(5, generator=generator)
    unit = direction / direction.norm()
    anchor = threshold - 1
    moved = OneSidedClamp(direction * scale, strength, threshold, anchor)(feature)
    before, after = feature @ unit, moved @ unit
    near = (before - threshold).abs() < 1e-4
    over = (before > threshold) & ~near
    under = (before < threshold) & ~near
    assert torch.equal(moved[under], feature[under])
    expected = before - strength * (before - anchor)
    assert torch.allclose(after[over], expected[over], atol=1e-4)
    # Across the direction nothing moves.
    across = (moved - feature) - (after - before)[:, None] * unit
    assert torch.allclose(across, torch.zeros_like(across), atol=1e-4)


def test_the_affine_transport_by_hand():
    # Channels (a, b) at two pixels; what is taken back is (1, 2) plus (b, 0).
    feature = torch.tensor([[[[3.0, 5.0]], [[1.0, 2.0]]]])
    direction, slope = torch.tensor([1.0, 2.0]).view(2, 1, 1), torch.tensor([[0.0, 1.0], [0, 0]])
    moved = AffineTransport(direction, 1.0, slope)(feature)
    assert moved.tolist() == [[[[1.0, 2.0]], [[-1.0, 0.0]]]]
    half = AffineTransport(direction, 0.5, slope)(feature)
    assert half.tolist() == [[[[2.0, 3.5]], [[0.0, 1.0]]]]


def test_the_affine_transport_of_tokens_by_hand():
    feature = torch.tensor([[[1.0, 0.0], [9.0, 7.0]]])  # (1, T=2, D=2)
    slope = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    affine = AffineTransport(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), 1.0, slope)
    assert affine(feature).tolist() == [[[0.0, 0.0], [2.0, 7.0]]]


@pytest.mark.parametrize(("shape", "of"), [((2, 3, 3), (2, 1, 1)), ((4, 3), (4, 3))])
def test_an_affine_transport_of_strength_0_or_slope_0(shape, of):
    feature, direction = torch.randn(6, *shape), torch.randn(of)
    channels = 2 if len(shape) == 3 else 3
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        slope = torch.ones(channels, channels)
        affine = AffineTransport(direction, 0.0, slope)
        assert torch.equal(affine(feature.to(dtype)), feature.to(dtype))
    flat = AffineTransport(direction, 0.7, torch.zeros(channels, channels))
    assert torch.equal(flat(feature), MeanShift(direction, 0.7)(feature))


def test_the_local_replacement_by_hand():
    # Channels (a, b) at two pixels; projected on (1, -1): 3 - 1 = 2 stays, 5 - 1 = 4 becomes it.
    feature = torch.tensor([[[[3.0, 5.0]], [[1.0, 1.0]]]])
    weight, clean = torch.tensor([1.0, -1.0]).view(2, 1, 1), torch.tensor([2.0, 3.0]).view(2, 1, 1)
    moved = LocalReplacement(weight, 1.0, threshold=3.0, replacement=clean)(feature)
    assert moved.tolist() == [[[[3.0, 3.0]], [[1.0, 1.0]]]]
    half = LocalReplacement(weight, 0.5, threshold=3.0, replacement=clean)(feature)
    assert half.tolist() == [[[[3.0, 4.0]], [[1.0, 1.0]]]]
    # Nothing is beside them at which it does not show.
    both = LocalReplacement(weight, 1.0, threshold=1.0, replacement=clean)(feature)
    assert both.tolist() == [[[[2.0, 2.0]], [[3.0, 3.0]]]]


def test_the_local_replacement_of_tokens_by_hand():
    feature = torch.tensor([[[1.0, 0.0], [9.0, 7.0]]])  # (1, T=2, D=2)
    local = LocalReplacement(torch.tensor([[1.0, 0.0]]), 1.0, 5.0, torch.tensor([[0.5, -0.5]]))
    assert local(feature).tolist() == [[[1.0, 0.0], [0.5, -0.5]]]


def test_where_the_trigger_shows_all_around_the_mean_clean_channels_are_taken():
    weight, clean = torch.ones(1, 1, 1), torch.full((1, 1, 1), -2.0)
    feature = torch.full((1, 1, 9, 9), 5.0)
    feature[..., 0] = 0.0
    moved = LocalReplacement(weight, 1.0, 1.0, clean)(feature)
    # Two columns to the left of the third there is the one at which nothing shows.
    assert moved[0, 0, 4].tolist() == [0, 0, 0, -2, -2, -2, -2, -2, -2]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), row=st.integers(2, 5), column=st.integers(2, 5))
def test_the_local_replacement_goes_where_the_trigger_goes(seed, row, column):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(2, 3, 8, 8, generator=generator)
    feature = clean.clone()
    feature[:, :, row, column] = 10
    moved = LocalReplacement(torch.ones(3, 1, 1), 1.0, 9.0, torch.zeros(3, 1, 1))(feature)
    around = clean[:, :, row - 2 : row + 3, column - 2 : column + 3]
    mean = (around.sum((2, 3)) - clean[:, :, row, column]) / 24
    torch.testing.assert_close(moved[:, :, row, column], mean)
    elsewhere = torch.ones(8, 8, dtype=torch.bool)
    elsewhere[row, column] = False
    assert torch.equal(moved[..., elsewhere], clean[..., elsewhere])


@pytest.mark.parametrize(("shape", "of"), [((2, 3, 3), (2, 1, 1)), ((4, 3), (1, 3))])
def test_a_local_replacement_of_strength_0_changes_nothing(shape, of):
    feature, weight = torch.randn(6, *shape), torch.randn(of)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        local = LocalReplacement(weight, 0.0, -100.0, torch.ones(of))
        assert torch.equal(local(feature.to(dtype)), feature.to(dtype))


@pytest.mark.parametrize(("shape", "of"), SHAPES)
def test_strength_0_changes_nothing(shape, of):
    feature, weight = torch.randn(6, *shape), torch.randn(of)
    assert torch.equal(MeanShift(weight, 0.0)(feature), feature)
    assert torch.equal(OneSidedClamp(weight, 0.0, -100.0, 0.0)(feature), feature)


def test_a_feature_that_is_not_a_number_is_left_to_the_judge():
    feature = torch.tensor([[math.nan, 1.0], [5.0, 5.0]])
    moved = OneSidedClamp(torch.tensor([1.0, 0.0]), 1.0, 2.0, 0.0)(feature)
    assert moved[1].tolist() == [0.0, 5.0]
    assert moved[0, 1] == 1.0


def test_no_samples():
    assert project(torch.zeros(0, 2, 3), torch.ones(2, 3)).shape == (0,)
    assert project(torch.zeros(0, 2, 3), torch.ones(1, 3)).shape == (0,)
    assert MeanShift(torch.ones(1, 3), 1.0)(torch.zeros(0, 2, 3)).shape == (0, 2, 3)
    assert OneSidedClamp(torch.ones(2, 3), 1.0, 0, 0)(torch.zeros(0, 2, 3)).shape == (0, 2, 3)


def test_what_is_given_is_not_changed():
    feature, direction = torch.randn(4, 3), torch.randn(3)
    kept = feature.clone(), direction.clone()
    MeanShift(direction, 1.0)(feature)
    OneSidedClamp(direction, 1.0, -9.0, -9.0)(feature)
    assert torch.equal(feature, kept[0])
    assert torch.equal(direction, kept[1])


def test_corrections_are_modules_whose_tensors_are_buffers():
    for module in (
        Projection(torch.ones(2), 1.0),
        MeanShift(torch.ones(2), 1.0),
        OneSidedClamp(torch.ones(2), 1.0, 1.0, 0.0),
    ):
        assert list(module.parameters()) == []
        assert all(buffer.dtype == torch.float32 for buffer in module.buffers())
        assert all(buffer.is_meta for buffer in module.to("meta").buffers())


@pytest.mark.parametrize("score", [0.9, 1.0, 1.1, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("others", [[], [0.5, -3.0]])
def test_none_is_flagged_where_no_score_is(score, others):
    projection = Projection(torch.ones(1), 1.0)
    scores = torch.tensor([*others, score])
    assert projection.surely_flags_none(scores) == (not projection.flags(scores).any())


def test_maps_that_lie_channels_last_are_projected_alike():
    feature = torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(1))
    last = feature.contiguous(memory_format=torch.channels_last)
    expected = torch.einsum("nchw,chw->n", feature, weight)
    torch.testing.assert_close(project(last, weight), expected)
    torch.testing.assert_close(project(feature, weight), expected)


def test_a_local_replacement_in_the_corner_of_a_map_by_hand():
    feature = torch.arange(16.0).view(1, 1, 4, 4)
    feature[0, 0, 3, 3] = 99
    moved = LocalReplacement(torch.ones(1, 1, 1), 1.0, 50.0, torch.zeros(1, 1, 1))(feature)
    # Of the window, the 9 places of the lower right corner lie on the map, less the corner itself.
    assert moved[0, 0, 3, 3].item() == pytest.approx((5 + 6 + 7 + 9 + 10 + 11 + 13 + 14) / 8)
    assert torch.equal(moved.flatten()[:15], feature.flatten()[:15])


def test_each_form_becomes_its_module():
    """A feature (3, 1) and a direction (1, 0): 3 projects to 3, beyond the threshold of 2."""
    x, feature = torch.tensor([1.0, 0.0]), torch.tensor([[3.0, 1.0]])
    tokens = torch.tensor([[[3.0, 1.0]]])
    assert build_correction(Shift(x, 0.5))(feature).tolist() == [[2.5, 1.0]]
    assert build_correction(Clamp(x, 0.5, 2.0, 1.0))(feature).tolist() == [[2.0, 1.0]]
    # The shift there is 1 + 2 * 3 in the first channel, 0 in the second.
    slope = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    assert build_correction(Affine(x[None], 1.0, slope))(tokens).tolist() == [[[-4.0, 1.0]]]
    clean = torch.tensor([[1.0, 3.0]])
    assert build_correction(Local(x[None], 0.5, 2.0, clean))(tokens).tolist() == [[[2.0, 2.0]]]
