"""A repaired model on another device: the answers are the same, and a pass waits once at most."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.elsewhere import ELSEWHERE, elsewhere
from tests.handler.repair.overlays import (
    SHAPE,
    clean_maps,
    detection,
    input_layer,
    overlay,
    triggered,
)
from torchserve_fire.format.bundle import Layer
from torchserve_fire.format.correction_forms import Affine, Clamp, Local, Shift
from torchserve_fire.repair.attach_layers import attach_layers

OVERLAY = overlay()
CLEAN = clean_maps(6)
BATCH = CLEAN.clone()
BATCH[1::2] = triggered(CLEAN[1::2], OVERLAY, [(0, 0), (3, 6), (7, 1)])
"""The second, fourth and sixth have the trigger."""
FOUND = detection(OVERLAY)
"""Finds it in features that are those of the input, too."""


class Net(nn.Module):
    """Predicts 1 where neighbours in a row differ, as only the trigger makes them; else 0 or 2."""

    def __init__(self):
        super().__init__()
        self.early, self.late = nn.Identity(), nn.Identity()
        self.scale = nn.Parameter(torch.ones(()))
        self.eval()

    def forward(self, x):
        x = self.late(self.early(x * self.scale))
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, (x - x.roll(1, 3)).abs().amax((1, 2, 3)), 0.1 - mean], 1)


def detects(name, only_target=False, target=None):
    return Layer(name, SHAPE, replace(FOUND, only_target=only_target), target=target)


def repairs(name, correction, target=None):
    return Layer(name, SHAPE, None, correction, target=target)


CHANNEL = torch.tensor([0.5, -0.25]).view(2, 1, 1)
SHIFT = Shift(OVERLAY.direction, 0.75)
FORMS = {
    "shift": SHIFT,
    "affine": Affine(OVERLAY.direction, 0.5, slope=torch.eye(2) / 4),
    "clamp": Clamp(CHANNEL, 1.0, threshold=0.1, anchor=0.0),
    "local": Local(CHANNEL, 1.0, threshold=0.1, replacement=CHANNEL / 8),
}
CASES = {
    # Layers, and how often a pass waits where nothing is flagged.
    **{name: ([detects("early"), repairs("late", form)], 0) for name, form in FORMS.items()},
    "two passes": ([detects("late"), repairs("early", SHIFT)], 1),
    "of the target": ([detects("early", True), repairs("late", SHIFT)], 1),
    "two targets": (
        [
            detects("early", True, target=1),
            repairs("late", SHIFT, target=1),
            detects("late", True, target=2),
            repairs("early", FORMS["clamp"], target=2),
        ],
        1,
    ),
    "the input": ([input_layer(OVERLAY, only_target=True)], 1),
    "every input": ([repairs("late", SHIFT)], 0),
}


def answers(model, layers, inputs, device):
    """The logits of each batch, and what was found in it, on the CPU."""
    example, found = torch.zeros(1, *SHAPE).to(device), []
    with attach_layers(model, layers, example, target=1) as handle, torch.no_grad():
        for batch in inputs:
            logits = model(batch.to(device))
            assert logits.device == torch.device(device)
            verdict = handle.verdict.on_cpu()
            scores = None if verdict.scores is None else verdict.scores.tolist()
            found.append((logits.cpu().tolist(), verdict.flagged.tolist(), scores))
    return found


@pytest.mark.parametrize("case", list(CASES))
def test_the_answers_are_the_same(monkeypatch, case):
    layers, _ = CASES[case]
    batches = (CLEAN, BATCH, BATCH[1::2], CLEAN[:1])
    expected = answers(Net(), layers, batches, "cpu")
    assert expected[1][1] == [case == "every input", True] * 3
    with elsewhere(monkeypatch):
        assert answers(Net().to(ELSEWHERE), layers, batches, ELSEWHERE) == expected


@pytest.mark.parametrize("case", list(CASES))
def test_a_pass_waits_only_to_know_whether_there_is_a_second(monkeypatch, case):
    layers, waits = CASES[case]
    with elsewhere(monkeypatch) as watched:
        model = Net().to(ELSEWHERE)
        clean, batch = CLEAN.to(ELSEWHERE), BATCH.to(ELSEWHERE)
        example = torch.zeros(1, *SHAPE).to(ELSEWHERE)
        with attach_layers(model, layers, example, target=1) as handle, torch.no_grad():
            watched.waits.clear()
            model(clean)
            assert watched.waits.total() == waits
            watched.waits.clear()
            model(batch)
            # In one pass, what is flagged is repaired without a look at it, too.
            assert handle.passes == 2 or not watched.waits


def test_where_nothing_is_flagged_the_answer_is_the_plain_one_to_the_bit(monkeypatch):
    with elsewhere(monkeypatch):
        model = Net().to(ELSEWHERE)
        clean = CLEAN.to(ELSEWHERE)
        plain = model(clean).cpu()
        for layers, _ in CASES.values():
            if any(layer.detection for layer in layers):
                with attach_layers(model, layers, clean[:1], target=1):
                    assert torch.equal(model(clean).cpu(), plain)
