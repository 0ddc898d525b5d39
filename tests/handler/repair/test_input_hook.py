import pytest
import torch

from tests.handler.repair.overlays import SHAPE, clean_maps, detection, overlay, triggered
from torchserve_fire.errors import RepairError
from torchserve_fire.format.bundle import Detection
from torchserve_fire.repair.input_hook import OverlayHook

OVERLAY = overlay(base=-3.0)
CLEAN = clean_maps(3)
STAMPED = triggered(CLEAN, OVERLAY, [(0, 0), (2, 3), (6, 6)])
OTHER = torch.arange(3.0)


TARGET = 5


def hook_of(of=OVERLAY, target=TARGET):
    return OverlayHook(SHAPE, target, detection(of), of)


def among(*rows, size=3):
    """The classes of samples of which these are predicted as the target."""
    return torch.tensor([TARGET if i in rows else i for i in range(size)], dtype=torch.int64)


def test_only_what_may_be_flagged_is_scored():
    scores = hook_of().score((STAMPED,), {}, among(0, 2), 3)
    assert scores.dtype == torch.float32
    # Of the others, it is the score without a trigger.
    assert scores.tolist() == pytest.approx([1.0, -3.0, 1.0], abs=1e-5)
    assert hook_of().score((STAMPED,), {}, among(1), 3).tolist() == pytest.approx(
        [-3, 1, -3], abs=1e-5
    )


def test_without_a_target_all_samples_are_scored():
    scores = hook_of(target=None).score((STAMPED,), {}, None, 3)
    assert scores.tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert torch.equal(scores, hook_of().score((STAMPED,), {}, among(0, 1, 2), 3))


def test_where_none_may_be_flagged_nothing_is_projected(monkeypatch):
    hook = hook_of()
    monkeypatch.setattr(hook.projection, "forward", pytest.fail)
    assert hook.score((STAMPED,), {}, among(), 3) is None
    assert hook.score((STAMPED[:0],), {}, among(size=0), 0) is None


def test_scores_need_no_gradient():
    inputs = STAMPED.clone().requires_grad_()
    assert not hook_of().score((inputs,), {}, among(0, 1, 2), 3).requires_grad


@pytest.mark.parametrize(
    ("args", "kwargs", "key"),
    [
        ((STAMPED,), {}, 0),
        ((OTHER, STAMPED, OTHER), {}, 1),
        ((None, "text", STAMPED), {"scale": 2}, 2),
        ((OTHER,), {"mask": OTHER, "x": STAMPED}, "x"),
        ((STAMPED.long(), STAMPED), {}, 1),
        ((STAMPED[:, :, :4], STAMPED), {}, 1),
    ],
)
def test_the_input_is_found_and_nothing_else_is_moved(args, kwargs, key):
    hook = hook_of()
    assert hook.score(args, kwargs, among(0, 1, 2), 3).tolist() == pytest.approx(
        [1.0] * 3, abs=1e-5
    )
    moved_args, moved_kwargs = hook.move(args, kwargs)
    assert (len(moved_args), list(moved_kwargs)) == (len(args), list(kwargs))
    for name, value in [*enumerate(args), *kwargs.items()]:
        moved = moved_kwargs[name] if isinstance(name, str) else moved_args[name]
        if name == key:
            assert torch.allclose(moved, CLEAN, atol=1e-5)
        else:
            assert moved is value
    # What the caller holds stays as it is.
    assert STAMPED is (kwargs[key] if isinstance(key, str) else args[key])


@pytest.mark.parametrize(
    "args", [(), (OTHER,), (STAMPED[0],), (STAMPED[:, :1],), (STAMPED.long(),), ([STAMPED],)]
)
def test_without_a_batch_of_inputs_it_is_an_error(args):
    for call in (
        lambda: hook_of().score(args, {}, among(0, 1, 2), 3),
        lambda: hook_of().move(args, {}),
    ):
        with pytest.raises(RepairError, match=r"holds no tensor \(N, 2, 8, 8\), which the bundle"):
            call()


def test_of_another_number_of_inputs_than_samples_it_is_an_error():
    with pytest.raises(RepairError, match="holds 3 samples to score, expected 2"):
        hook_of().score((STAMPED,), {}, among(0, 1, size=2), 2)


def test_a_direction_that_broadcasts_is_the_one_written_out():
    weight = torch.tensor([1.0, -2.0]).view(2, 1, 1)
    short, whole = (
        OverlayHook(SHAPE, TARGET, Detection(one, 0.5, anywhere=True), OVERLAY).score(
            (STAMPED,), {}, among(0, 1, 2), 3
        )
        for one in (weight, weight.expand(SHAPE))
    )
    assert torch.equal(short, whole)
    assert torch.allclose(short, (STAMPED * weight).sum((1, 2, 3)), atol=1e-4)
