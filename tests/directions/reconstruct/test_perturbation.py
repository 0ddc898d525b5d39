import pytest
import torch

from tests.directions.reconstruct.patch_net import subject
from torchserve_fire_build.reconstruct.input_box import InputBox
from torchserve_fire_build.reconstruct.perturbation import (
    ADDITIVE_BOUND,
    FREE_SMOOTH_BOUND,
    FREE_STRIDE,
    L2,
    L_INFINITY,
    START,
    STRIDE,
    Perturbation,
    additive_steps,
    smooth_steps,
)

NORMS = pytest.mark.parametrize("norm", [L2, L_INFINITY])
WIDTH = 4.0
BOX = InputBox(torch.zeros(1, 1, 1), torch.full((1, 1, 1), WIDTH), 0)
SHAPE = (1, 3, 3)
LONGEST = 0.5


def perturbation(norm, generator=None):
    return Perturbation(BOX, LONGEST, SHAPE, lambda x: x, norm, generator)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def added(change, shape=SHAPE):
    with torch.no_grad():
        return change.stamp(torch.zeros(1, *shape))[0]


def length(norm, values):
    return float(values.norm() if norm is L2 else values.abs().max())


def push(change, towards):
    with torch.enable_grad():
        change.step(-(change.stamp(torch.zeros(1, *SHAPE)) * towards).sum())


@NORMS
def test_it_starts_at_nothing_or_at_a_random_place_within_its_bound(norm):
    assert not bool(added(perturbation(norm)).any())
    first = added(perturbation(norm, seeded()))
    assert length(norm, first) == pytest.approx(START * LONGEST * WIDTH)
    assert torch.equal(added(perturbation(norm, seeded())), first)
    assert not torch.equal(added(perturbation(norm, seeded(1))), first)


@NORMS
@pytest.mark.parametrize("seed", [None, 0])
def test_it_stays_within_its_bound_and_goes_as_far_as_it_may(norm, seed):
    change = perturbation(norm, None if seed is None else seeded(seed))
    towards = torch.randn(SHAPE, generator=seeded(5))
    for _ in range(40):
        push(change, towards)
        assert length(norm, added(change)) <= LONGEST * WIDTH * (1 + 1e-5)
    # Of a loss that is linear, the best place is known.
    torch.testing.assert_close(
        added(change), LONGEST * WIDTH * norm.ahead(towards), atol=0.05, rtol=0.05
    )


@NORMS
def test_where_no_class_is_named_steps_are_longer(norm):
    towards = torch.ones(SHAPE)
    for generator, stride in ((None, STRIDE), (seeded(), FREE_STRIDE)):
        change = perturbation(norm, generator)
        before = added(change)
        push(change, towards)
        moved = length(norm, added(change) - before)
        assert moved == pytest.approx(stride * LONGEST * WIDTH, rel=1e-4)


def test_a_loss_without_a_slope_moves_nothing():
    change = perturbation(L2, seeded())
    before = added(change)
    push(change, torch.zeros(SHAPE))
    torch.testing.assert_close(added(change), before)


@pytest.mark.parametrize(
    ("begin", "bound"), [(additive_steps, ADDITIVE_BOUND), (smooth_steps, FREE_SMOOTH_BOUND)]
)
def test_bounds_are_root_mean_squares(begin, bound):
    change = added(begin(subject(), seeded()), (3, 8, 8))
    assert float(change.square().mean().sqrt()) == pytest.approx(START * bound, rel=1e-4)


def test_it_is_differentiable_only_where_gradients_are_enabled():
    change = perturbation(L2, seeded())
    inputs = torch.zeros(2, *SHAPE)
    with torch.no_grad():
        assert not change.stamp(inputs).requires_grad
    with torch.enable_grad():
        assert change.stamp(inputs).requires_grad
