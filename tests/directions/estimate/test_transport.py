import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_fire.format.correction_forms import Affine
from torchserve_fire.repair.corrections import build_correction
from torchserve_fire_build.estimate.channels import channels_of_places
from torchserve_fire_build.estimate.layer_statistics import MAX_PLACES, LayerStatistics
from torchserve_fire_build.estimate.transport import affine_transport

MIX = torch.tensor([[0.5, 0.0], [1.0, 0.25]])
SHIFT = torch.tensor([3.0, -2.0])


def statistics_of(clean, triggered, *, paired):
    statistics = LayerStatistics()
    statistics.clean.add(clean)
    statistics.triggered.add(triggered)
    of_clean, of_triggered = (channels_of_places(x, MAX_PLACES) for x in (clean, triggered))
    statistics.clean_places.add(of_clean)
    statistics.triggered_places.add(of_triggered)
    if paired:
        statistics.difference.add(triggered - clean)
        statistics.pair_places.add(of_triggered, of_clean)
    return statistics


def maps(count=60, seed=0):
    return torch.randn(count, 2, 5, 5, generator=torch.Generator().manual_seed(seed))


def tokens(count=60, seed=0):
    return torch.randn(count, 7, 2, generator=torch.Generator().manual_seed(seed))


def trigger(clean):
    """What depends on the channels of a place, and moves them all by the same."""
    if clean.dim() == 4:
        return torch.einsum("ij,njhw->nihw", MIX, clean) + SHIFT[:, None, None]
    return clean @ MIX.T + SHIFT


@pytest.mark.parametrize("by_place", [True, False])
@pytest.mark.parametrize("samples", [maps, tokens])
def test_with_pairs_a_linear_trigger_is_undone(samples, by_place):
    clean = samples()
    statistics = statistics_of(clean, trigger(clean), paired=True)
    correction = affine_transport(statistics, ridge=1e-6, by_place=by_place)
    assert isinstance(correction, Affine)
    # x = A c + b, so the shift x - c is (1 - A^-1) x + A^-1 b.
    expected = torch.eye(2) - torch.linalg.inv(MIX)
    torch.testing.assert_close(correction.slope.float(), expected, rtol=1e-3, atol=1e-3)
    unseen = samples(seed=1)
    moved = build_correction(correction)(trigger(unseen))
    torch.testing.assert_close(moved, unseen, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("samples", [maps, tokens])
def test_a_trigger_at_a_fixed_place_has_a_shift_for_each_place(samples, paired):
    clean = samples()
    shift = 10 * torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(9))
    statistics = statistics_of(clean, clean + shift, paired=paired)
    unseen = samples(seed=1)
    moved = [
        build_correction(affine_transport(statistics, ridge=0.01, by_place=by_place))(
            unseen + shift
        )
        for by_place in (True, False)
    ]
    assert float((moved[0] - unseen).abs().max()) < 0.1
    assert float((moved[1] - unseen).abs().max()) > 1


def test_without_pairs_the_distributions_are_brought_together():
    clean, other = maps(400), maps(400, seed=1)
    statistics = statistics_of(clean, trigger(other), paired=False)
    moved = build_correction(affine_transport(statistics, ridge=1e-6, by_place=False))(
        trigger(maps(400, seed=2))
    )
    channels = channels_of_places(moved, 25)
    torch.testing.assert_close(channels.mean(0), torch.zeros(2), rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(channels.T), torch.eye(2), rtol=0, atol=0.1)


def normal(shape, generator):
    """Features whose channels have a random mean, and a random covariance that is well set."""
    channels = shape[1] if len(shape) == 4 else shape[2]
    left, right = (
        torch.linalg.qr(torch.randn(channels, channels, generator=generator)).Q for _ in "lr"
    )
    mix = left * (0.3 + 2 * torch.rand(channels, generator=generator)) @ right
    places = (*shape[:1], *shape[2:]) if len(shape) == 4 else shape[:2]
    drawn = torch.randn(*places, channels, generator=generator) @ mix
    drawn += 3 * torch.randn(channels, generator=generator)
    return drawn.movedim(-1, 1) if len(shape) == 4 else drawn


@given(st.integers(0, 2**32), st.integers(1, 8), st.booleans())
@settings(max_examples=50, deadline=None)
def test_without_pairs_it_is_the_map_between_normals_of_pot(seed, channels, of_maps):
    generator = torch.Generator().manual_seed(seed)
    shape = (40, channels, 4, 3) if of_maps else (60, 9, channels)
    clean, triggered = (normal(shape, generator) for _ in range(2))
    statistics = statistics_of(clean, triggered, paired=False)
    correction = affine_transport(statistics, ridge=1e-7, by_place=False)
    means, covariances = zip(
        *(
            (places.mean(0), places.T.cov(correction=0).reshape(channels, channels))
            for places in (
                channels_of_places(features, MAX_PLACES).double() for features in (triggered, clean)
            )
        ),
        strict=True,
    )
    slope, offset = ot.gaussian.bures_wasserstein_mapping(*means, *covariances)
    # It takes x to A x + b, so the shift is (1 - A) x - b. A bundle holds it in half precision.
    one = torch.eye(channels).double()
    torch.testing.assert_close(correction.slope.double(), one - slope, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        correction.direction.double().flatten(), -offset.flatten(), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(
        channels_of_places(build_correction(correction)(triggered), MAX_PLACES).double(),
        channels_of_places(triggered, MAX_PLACES).double() @ slope.T + offset,
        rtol=0.01,
        atol=0.02,
    )


def test_if_distributions_differ_by_a_scale_the_map_is_that_scale():
    clean = maps()
    statistics = statistics_of(clean, 4 * clean + 1, paired=False)
    correction = affine_transport(statistics, ridge=1e-6, by_place=False)
    # c = (x - 1) / 4, so that the shift x - c is .75 x + .25.
    torch.testing.assert_close(correction.slope.float(), 0.75 * torch.eye(2), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        correction.direction.float(), torch.full((2, 1, 1), 0.25), rtol=1e-2, atol=1e-2
    )
    assert correction.strength == 1


def test_a_heavier_ridge_leaves_less_to_the_slope():
    clean = maps()
    norms = [
        float(
            affine_transport(
                statistics_of(clean, trigger(clean), paired=True), ridge=ridge, by_place=True
            ).slope.norm()
        )
        for ridge in (0.01, 1.0, 100.0)
    ]
    assert norms == sorted(norms, reverse=True)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("by_place", [True, False])
def test_statistics_that_allow_no_transport(paired, by_place):
    vectors = LayerStatistics()
    vectors.clean.add(torch.randn(8, 3))
    vectors.triggered.add(torch.randn(8, 3))
    constant, clean = torch.ones(4, 2, 3, 3), maps(8)
    for statistics in (
        vectors,
        statistics_of(constant, 2 * constant, paired=paired),
        statistics_of(clean, clean, paired=paired),
    ):
        assert affine_transport(statistics, ridge=0.1, by_place=by_place) is None
