"""Repairs of a model's input, attached: what is moved, what stays, and what is refused."""

import threading
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from tests.handler.repair.overlays import (
    SHAPE,
    clean_maps,
    detection,
    input_layer,
    overlay,
    pattern,
    triggered,
)
from torchserve_fire.errors import AttachError, RepairError
from torchserve_fire.format.bundle import INPUT_LAYER, Detection, Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.repair.attach_layers import attach_layers

TARGET = 1


class Net(nn.Module):
    """Predicts 1 where neighbours in a row differ, as only the trigger makes them; else 0 or 2."""

    def __init__(self):
        super().__init__()
        self.body = nn.Identity()
        self.sizes = []
        self.eval()

    def forward(self, x):
        self.sizes.append(len(x))
        return self.head(self.body(x))

    def head(self, x):
        rough = (x - x.roll(1, 3)).abs().amax((1, 2, 3))
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, rough, 0.1 - mean], 1)


OVERLAY = overlay()
LAYER = input_layer(OVERLAY, only_target=True)
CLEAN = clean_maps(6)
BATCH = CLEAN.clone()
BATCH[1::2] = triggered(CLEAN[1::2], OVERLAY, [(0, 0), (3, 6), (7, 1)], torch.tensor(0.75))
"""The second, fourth and sixth have the trigger."""
FLAGGED = [False, True] * 3
ONE = torch.zeros(1, *SHAPE)


def attached(model, layers=(LAYER,), example=ONE, **options):
    return attach_layers(model, list(layers), example, **{"target": TARGET, **options})


def check(answers, flagged, plain, model=None):
    """Fail unless flagged answers are those to the clean maps, and all others as they were."""
    assert flagged.tolist() == FLAGGED
    assert torch.equal(answers[~flagged], plain[~flagged])
    assert torch.allclose(answers, (model or Net())(CLEAN), atol=1e-4)
    assert (plain.argmax(1) == TARGET).tolist() == FLAGGED


def test_the_trigger_is_undone_in_a_second_pass_of_the_flagged_only():
    model = Net()
    plain = model(BATCH)
    with attached(model) as handle:
        assert handle.passes == 2
        model.sizes.clear()
        answers = model(BATCH)
        assert model.sizes == [6, 3]
        check(answers, handle.verdict.flagged, plain)
        assert handle.verdict.scores.tolist() == pytest.approx([0, 0.75] * 3, abs=1e-4)
        # Not all of the batch were scored: so they are not watched.
        assert list(handle.verdict.detector_scores) == []
        model.sizes.clear()
        assert torch.equal(model(CLEAN), Net()(CLEAN))
        assert model.sizes == [6]
        assert handle.passes_made == 4  # Two of the proof.
    assert torch.equal(model(BATCH), plain)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_what_is_not_predicted_as_the_target_is_not_flagged():
    with attached(model := Net(), target=2) as handle:
        assert torch.equal(model(BATCH), Net()(BATCH))
        assert not handle.verdict.flagged.any()
    # If the layer asks for no target, the score alone decides.
    with attached(model, [input_layer(OVERLAY)], target=2) as handle:
        check(model(BATCH), handle.verdict.flagged, Net()(BATCH))


def test_observing_judges_and_changes_nothing():
    model = Net()
    with attached(model, mode="observe") as handle:
        model.sizes.clear()
        assert torch.equal(model(BATCH), Net()(BATCH))
        assert model.sizes == [6]
        assert handle.passes == 1
        assert handle.verdict.flagged.tolist() == FLAGGED


@pytest.mark.parametrize("rows", [[], [0], [1], [1, 3], [0, 2]])
def test_parts_of_the_batch(rows):
    with attached(model := Net()) as handle:
        answers = model(BATCH[rows])
        assert handle.verdict.flagged.tolist() == [FLAGGED[i] for i in rows]
        assert torch.allclose(answers, Net()(CLEAN[rows]), atol=1e-4)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_input_that_is_not_finite_is_flagged(value):
    batch = CLEAN.clone()
    batch[2, 0, 0, 0] = value
    with attached(model := Net(), [input_layer(OVERLAY)]) as handle:
        answers = model(batch)
        assert handle.verdict.flagged.tolist() == [False, False, True, False, False, False]
        assert torch.allclose(answers[:2], Net()(CLEAN[:2]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_of_half_precision(dtype):
    batch, model = BATCH.to(dtype), Net()
    plain = model(batch)
    with attached(model, example=ONE.to(dtype)) as handle:
        answers = model(batch)
        assert handle.verdict.flagged.tolist() == FLAGGED
        assert handle.verdict.scores.dtype == torch.float32
    assert answers.dtype == dtype
    assert torch.equal(answers[::2], plain[::2])
    assert torch.allclose(answers.float(), Net()(CLEAN), atol=0.06)


def test_autocast():
    with attached(model := Net()) as handle, torch.autocast("cpu", dtype=torch.bfloat16):
        check(model(BATCH), handle.verdict.flagged, Net()(BATCH))


def test_a_compiled_model_is_not_compiled_anew():
    torch._dynamo.reset()
    counters.clear()

    class Plain(Net):
        def forward(self, x):
            return self.head(self.body(x))

    model = torch.compile(Plain(), backend="eager")
    seen = []
    with torch.inference_mode():
        for _ in range(2):
            with attached(model) as handle:
                for size in (6, 2, 3, 6):
                    answers = model(BATCH[:size])
                    assert handle.verdict.flagged.tolist() == FLAGGED[:size]
                    assert torch.allclose(answers, Net()(CLEAN[:size]), atol=1e-4)
            seen.append(counters["stats"]["unique_graphs"])
    assert seen[0] == seen[1] > 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_it_is_done_on_the_device_of_the_input(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    with attached(model := Net(), [LAYER, SHIFTED], ONE.to(device)) as handle:
        answers = model(BATCH.to(device))
        assert answers.device.type == handle.verdict.scores.device.type == device
        check(answers.cpu(), handle.verdict.flagged.cpu(), Net()(BATCH))


# Arguments ---------------------------------------------------------------------------------------


class Several(Net):
    """Takes more than its maps: a value of each sample, and one for the whole batch."""

    def forward(self, weight, x, *, scale=None):
        self.sizes.append((len(weight), len(x)))
        logits = self.head(self.body(x)) + weight[:, None]
        return logits if scale is None else logits * scale


WEIGHT = torch.arange(6.0)
SCALE = torch.full((3,), 2.0)


@pytest.mark.parametrize("by_name", [True, False])
def test_of_several_arguments_the_maps_are_moved_and_the_others_picked(by_name):
    def call(model, weight, x):
        if by_name:
            return model(weight=weight, x=x, scale=SCALE)
        return model(weight, x, scale=SCALE)

    model, zeros = Several(), torch.zeros(2)
    plain = call(model, WEIGHT, BATCH)
    with attached(model, example=lambda: call(model, zeros, torch.zeros(2, *SHAPE))) as handle:
        model.sizes.clear()
        answers = call(model, WEIGHT, BATCH)
        assert model.sizes == [(6, 6), (3, 3)]
        assert handle.verdict.flagged.tolist() == FLAGGED
    assert torch.equal(answers[::2], plain[::2])
    assert torch.allclose(answers, call(model, WEIGHT, CLEAN), atol=1e-4)


def test_the_hooks_of_others_change_the_input_first():
    model = Net()
    model.register_forward_pre_hook(lambda module, args: (args[0] / 2,))
    with attached(model) as handle:
        check(model(2 * BATCH), handle.verdict.flagged, Net()(BATCH))


def test_an_input_of_another_shape_is_refused():
    said = r"the model's input holds no tensor \(N, 2, 8, 8\), which the bundle repairs"
    for example in (torch.zeros(1, 2, 8, 9), torch.zeros(1, 3, 8, 8)):
        with pytest.raises(AttachError, match=said):
            attached(Net(), example=example)
    with pytest.raises(AttachError, match=said):
        attached(Net(), example=torch.zeros(1, 2, 8, 9), mode="observe")
    with attached(model := Net()) as handle:
        with pytest.raises(RepairError, match=said):
            model(torch.zeros(3, 2, 9, 8))
        with pytest.raises(RepairError, match="no forward pass was made"):
            _ = handle.verdict
        check(model(BATCH), handle.verdict.flagged, Net()(BATCH))


def test_an_input_of_integers_is_refused():
    class Integers(Net):
        def forward(self, x):
            return super().forward(x.float())

    with pytest.raises(AttachError, match="the model's input holds no tensor"):
        attached(Integers(), example=ONE.long())


# Beside other repairs ----------------------------------------------------------------------------

SHIFTED = Layer(
    "body",
    SHAPE,
    Detection(pattern() / pattern().square().sum(), 0.1, True),
    Shift(pattern(), 0.2),
    repair=1,
)
"""Finds the trigger where it was in the calibration samples alone, also if it is weaker."""


def test_what_the_first_repair_does_not_flag_goes_through_the_second():
    gains = torch.tensor([0.2, 0.75]).view(2, 1, 1, 1)
    stamped = triggered(CLEAN[:2], OVERLAY, [(0, 0)] * 2, gains)
    model = Net()
    with attached(model, [LAYER, SHIFTED]) as handle:
        assert handle.passes == 2
        model.sizes.clear()
        answers = model(torch.cat([stamped, CLEAN[2:]]))
        # The first one of the batch by the layer, the second by the input.
        assert model.sizes == [6, 1, 1]
        assert handle.verdict.flagged.tolist() == [True, True, False, False, False, False]
        assert handle.verdict.scores.tolist()[:2] == pytest.approx([0.2, 0.75], abs=1e-4)
        (of_layer,) = handle.verdict.detector_scores
        assert of_layer.tolist()[:2] == pytest.approx([0.2, 0.75], abs=1e-4)
    assert torch.allclose(answers, Net()(CLEAN), atol=1e-4)


def test_what_the_first_repair_does_not_lead_away_goes_through_the_second():
    # It undoes another pattern than it finds, so that the trigger stays.
    nothing = replace(OVERLAY, direction=torch.zeros(SHAPE))
    first = replace(LAYER, correction=nothing)
    second = replace(SHIFTED, correction=Shift(pattern(), 0.75))
    stamped = triggered(CLEAN, OVERLAY, [(0, 0)] * 6, torch.tensor(0.75))
    for layers, sizes in (([first, second], [6, 6, 6]), ([LAYER, second], [6, 6])):
        model = Net()
        with attached(model, layers):
            model.sizes.clear()
            answers = model(stamped)
            assert model.sizes == sizes
        assert torch.allclose(answers, Net()(CLEAN), atol=1e-4)


def test_clean_samples_beside_two_repairs_are_bit_identical():
    batch = BATCH + 0.001 * torch.randn(BATCH.shape, generator=torch.Generator().manual_seed(1))
    model = Net()
    plain = model(batch)
    with attached(model, [LAYER, SHIFTED]) as handle:
        answers, flagged = model(batch), handle.verdict.flagged
    assert 0 < int(flagged.sum()) < len(batch)
    assert torch.equal(answers[~flagged], plain[~flagged])


def test_repairs_of_the_input_for_two_targets_do_not_mix():
    other = replace(input_layer(overlay(), only_target=True), target=2)
    with attached(model := Net(), [replace(LAYER, target=TARGET), other]) as handle:
        check(model(BATCH), handle.verdict.flagged, Net()(BATCH))
    # That of the other target would be undone, but nothing with the trigger is predicted as it.
    broken = replace(LAYER, target=TARGET, correction=replace(OVERLAY, direction=0 * pattern()))
    with attached(model, [broken, other]) as handle:
        assert (model(BATCH).argmax(1) == TARGET).tolist() == FLAGGED
        assert handle.verdict.flagged.tolist() == FLAGGED


def test_threads_get_their_own_verdicts():
    model, failures = Net(), []
    barrier = threading.Barrier(6)
    with attached(model, [LAYER, SHIFTED]) as handle:

        def work(seed):
            generator = torch.Generator().manual_seed(seed)
            barrier.wait()
            for _ in range(20):
                size = int(torch.randint(1, 7, (1,), generator=generator))
                rows = torch.randint(0, 6, (size,), generator=generator)
                with torch.inference_mode():
                    answers = model(BATCH[rows])
                expected = Net()(CLEAN[rows])
                if handle.verdict.flagged.tolist() != [FLAGGED[i] for i in rows]:
                    failures.append("flagged")
                if not torch.allclose(answers, expected, atol=1e-4):
                    failures.append("answers")

        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert failures == []


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        replace(LAYER, correction=Shift(pattern(), 1.0)),
        replace(LAYER, detection=replace(LAYER.detection, anywhere=False)),
    ],
)
def test_the_input_is_repaired_by_an_overlay_that_is_found_anywhere(layer):
    with pytest.raises(AttachError, match=r"\(input\): expected it to detect anywhere, and to rep"):
        attached(model := Net(), [layer])
    model = Net()
    assert torch.equal(model(BATCH), Net()(BATCH))


def test_an_input_that_does_not_detect_is_refused():
    with pytest.raises(AttachError, match=r"\(input\): expected it to detect anywhere"):
        attached(Net(), [replace(LAYER, detection=None)])
    with pytest.raises(AttachError, match="a repair does not detect, expected each of several to"):
        attached(Net(), [replace(LAYER, detection=None), SHIFTED])


def test_an_overlay_at_a_layer_is_refused():
    with pytest.raises(AttachError, match="form 'overlay' acts on the model's input"):
        attached(Net(), [Layer("body", SHAPE, detection(OVERLAY), OVERLAY)])


def test_a_layer_may_detect_anywhere():
    layer = replace(SHIFTED, detection=detection(OVERLAY, only_target=True), repair=0)
    with attached(model := Net(), [layer]) as handle:
        model(BATCH)
        assert handle.verdict.flagged.tolist() == FLAGGED
        (scores,) = handle.verdict.detector_scores
        assert scores.tolist() == pytest.approx([0, 0.75] * 3, abs=1e-4)
        assert model(BATCH[:0]).shape == (0, 3)
    assert INPUT_LAYER not in dict(model.named_modules())
