from dataclasses import replace

import pytest
import torch

from tests.handler.bundles import small_bundle
from torchserve_fire.format.bundle import INPUT_LAYER, InputDescription
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.repair.overlay import MovingProjection, OverlayRemoval
from torchserve_fire_build.estimate.overlay import estimate_overlay

SHAPE = (3, 12, 12)
PATCH = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
TRIGGERS = ("patch", "blend", "added", "one channel")


def maps(count, seed=0):
    """Smooth maps in [.1, .9], as images are."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 0.1 + 0.8 * torch.rand(count, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, SHAPE[1:], mode="bilinear")
    return smooth + 0.01 * torch.randn(count, *SHAPE, generator=generator)


def put_in(trigger, inputs, down=0, right=0):
    """The same inputs with a trigger of a kind, moved from the top left corner."""
    rolled = inputs.roll((-down, -right), (-2, -1))
    patch = rolled[:, :, 1:4, 1:4]
    if trigger == "patch":
        patch[:] = PATCH
    elif trigger == "blend":
        patch[:] = 0.5 * patch + 0.5 * PATCH
    elif trigger == "added":
        patch += 0.6 * (PATCH - 0.5)
    else:
        patch[:, 1] = PATCH
    return rolled.clamp(0, 1).roll((down, right), (-2, -1))


def estimated(trigger, count=100):
    clean = maps(count)
    return estimate_overlay(clean, put_in(trigger, clean.clone()))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (5, 2), (8, 8), (0, 11)])
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_clean_input_scores_about_0_and_a_triggered_one_about_1_wherever(trigger, down, right):
    estimate = estimated(trigger)
    clean = maps(100, seed=1)
    of_clean = estimate.score(clean)
    of_triggered = estimate.score(put_in(trigger, clean.clone(), down, right))
    assert of_clean.shape == (100,)
    assert abs(float(of_clean.median())) < 0.3
    assert abs(float(of_triggered.median()) - 1) < 0.3
    assert float(of_clean.quantile(0.95)) < float(of_triggered.quantile(0.05))


def test_the_triggered_samples_score_on_average_1_more_at_their_place():
    clean = maps(100)
    triggered = put_in("blend", clean.clone())
    weight = estimate_overlay(clean, triggered).weight
    more = ((triggered - clean) * weight).sum((1, 2, 3))
    assert float(more.mean()) == pytest.approx(1, abs=1e-4)


def test_a_weaker_trigger_scores_less_in_proportion():
    estimate, clean = estimated("added"), maps(100, seed=1)
    weaker = (clean + put_in("added", clean.clone())) / 2
    assert float(estimate.score(weaker).median()) == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_each_channel_is_gauged_by_itself(trigger):
    clean = maps(100)
    triggered = put_in(trigger, clean.clone())
    overlay = estimate_overlay(clean, triggered).overlay
    assert overlay.gauges.shape == (3, *SHAPE)
    for inputs, expected in ((clean, 0.0), (triggered, 1.0)):
        gauged = torch.einsum("nchw,kchw->nk", inputs, overlay.gauges).mean(0)
        gauged -= torch.tensor(overlay.bases)
        changed = [1] if trigger == "one channel" else [0, 1, 2]
        assert gauged[changed].tolist() == pytest.approx([expected] * len(changed), abs=0.05)


def test_nothing_separates_inputs_that_do_not_differ():
    clean = maps(20)
    assert estimate_overlay(clean, clean.clone()) is None


def stored(folder, layer):
    """A layer as it comes out of a bundle's file."""
    bundle = replace(
        small_bundle(), layers=(layer,), input=InputDescription("tensor", SHAPE), target=0
    )
    save_bundle(bundle, folder / "b.safetensors")
    (found,) = load_bundle(folder / "b.safetensors").layers
    return found


@pytest.mark.parametrize("only_target", [True, False])
def test_a_layer_comes_out_of_a_bundle_as_it_went_in(tmp_path, only_target):
    estimate, clean = estimated("patch"), maps(40, seed=1)
    scores = estimate.score(clean)
    layer = stored(tmp_path, estimate.layer(0.5, scores, only_target=only_target))
    assert (layer.name, layer.role, layer.feature_shape) == (INPUT_LAYER, "both", SHAPE)
    detection, overlay = layer.detection, layer.correction
    assert (detection.only_target, detection.anywhere) == (only_target, True)
    assert detection.clean_scores.count == 40
    # A threshold of the scores is one of the projections, which the spread is of.
    assert detection.threshold == pytest.approx(0.5 + overlay.base, abs=1e-3)
    assert detection.clean_scores.deciles[4] == pytest.approx(
        float(scores.median()) + overlay.base, abs=0.05
    )
    inputs = torch.cat([clean, put_in("patch", clean.clone(), 3, 7)])
    projection = MovingProjection(detection.weight, detection.threshold)
    flagged = projection(inputs) > detection.threshold
    assert torch.equal(flagged, estimate.score(inputs) > 0.5)
    for part in ("direction", "slope", "gauges", "lower", "upper"):
        before, after = getattr(estimate.overlay, part), getattr(overlay, part).float()
        torch.testing.assert_close(after, before, atol=2e-3, rtol=2e-3)


def test_without_clean_samples_their_spread_is_not_known():
    layer = estimated("patch").layer(0.5, torch.empty(0), only_target=True)
    assert layer.detection.clean_scores is None


@pytest.mark.parametrize("trigger", ["patch", "blend", "added"])
def test_what_is_estimated_undoes_a_trigger_that_was_moved(trigger):
    estimate, clean = estimated(trigger), maps(40, seed=1)
    layer = estimate.layer(0.5, estimate.score(clean), only_target=False)
    triggered = put_in(trigger, clean.clone(), 6, 4)
    repaired = OverlayRemoval(layer.detection, layer.correction)(triggered)
    before, after = ((x - clean).square().sum((1, 2, 3)) for x in (triggered, repaired))
    assert float((after / before).median()) < 0.1
