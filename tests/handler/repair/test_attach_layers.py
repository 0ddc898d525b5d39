"""The corrections attached to models: what is moved, what stays, and what is refused."""

import copy
import math
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutput

from torchserve_fire.errors import AttachError, RepairError
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.correction_forms import Clamp, Shift
from torchserve_fire.repair.attach_layers import attach_layers

Out = namedtuple("Out", "logits extra")


@dataclass
class Answered:
    logits: Tensor
    loss: Tensor


class Line(nn.Module):
    """early = x, late = 2 x, logits = 2 x + 1: its repairs can be worked out by hand."""

    def __init__(self, wrap=lambda logits: logits):
        super().__init__()
        self.early = nn.Identity()
        self.late = nn.Identity()
        self.wrap = wrap
        self.eval()

    def forward(self, x):
        return self.wrap(self.late(self.early(x) * 2) + 1)


class Conv(nn.Module):
    """Features (C, H, W)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu_(self.bn1(self.conv1(x)))
        x = torch.relu_(self.conv2(x))
        x = torch.relu_(self.conv3(x))
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """Features (T, D); its attention returns a tuple; `picked` is a view with gaps."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.turned = nn.Identity()
        self.picked = nn.Identity()
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.embed(x)
        x = self.norm(x + self.attention(x, x, x)[0])
        x = self.turned(x.transpose(1, 2)).transpose(1, 2)
        return self.head(self.picked(x[:, 0]))


class Vectors(nn.Module):
    """Features (D)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 8)
        self.third = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.head(torch.relu(self.third(torch.relu(self.second(x)))))


class Recurrent(nn.Module):
    """A layer whose output is a tuple with a tuple in it."""

    def __init__(self):
        super().__init__()
        self.first = nn.LSTM(6, 8, batch_first=True)
        self.second = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x, _ = self.first(x)
        x, _ = self.second(x)
        return self.head(x[:, -1])


SHAPES = {Conv: (3, 6, 6), Tokens: (5, 6), Vectors: (6,), Recurrent: (5, 6)}
FEATURES = {
    (Conv, "conv1"): (8, 6, 6),
    (Conv, "bn1"): (8, 6, 6),
    (Conv, "conv3"): (8, 6, 6),
    (Tokens, "embed"): (5, 8),
    (Tokens, "attention"): (5, 8),
    (Tokens, "norm"): (5, 8),
    (Tokens, "turned"): (8, 5),
    (Tokens, "picked"): (8,),
    (Vectors, "first"): (8,),
    (Vectors, "third"): (8,),
    (Recurrent, "first"): (5, 8),
    (Recurrent, "second"): (5, 8),
    (Conv, "head"): (4,),
    (Vectors, "head"): (4,),
}


def built(kind, dtype=torch.float32):
    torch.manual_seed(0)
    return kind().to(dtype).eval()


def detects(name, shape, weight, threshold, only_target=False):
    return Layer(name, shape, detection=Detection(weight, threshold, only_target))


def shifts(name, shape, direction, strength=1.0):
    return Layer(name, shape, correction=Shift(direction, strength))


def clamps(name, shape, direction, strength=1.0, threshold=0.0, anchor=0.0):
    return Layer(name, shape, correction=Clamp(direction, strength, threshold, anchor))


def hooks_of(model: nn.Module) -> list[list[int]]:
    return [
        [*module._forward_hooks, *module._forward_pre_hooks, *module._forward_hooks_with_kwargs]
        for module in model.modules()
    ]


X = torch.tensor([1.0, 0.0])
"""The first axis of `Line`."""
DETECTS_LATE = detects("late", (2,), X, 10.0)
DETECTS_EARLY = detects("early", (2,), X, 5.0)
SHIFTS_EARLY = shifts("early", (2,), torch.tensor([4.0, 1.0]))
SHIFTS_LATE = shifts("late", (2,), torch.tensor([4.0, 1.0]))
BATCH = torch.tensor([[1.0, 2.0], [6.0, 2.0], [5.0, 3.0], [7.0, 0.0]])
"""The second and the last are flagged by both detecting layers; the third lies at the threshold."""
CLEAN = (BATCH * 2 + 1).tolist()
ONE = torch.zeros(1, 2)


# What is moved, by hand ------------------------------------------------------------------------


def test_the_mean_shift_on_every_input():
    model = Line()
    with attach_layers(model, [SHIFTS_EARLY], ONE) as handle:
        answers = model(BATCH)
        assert answers.tolist() == [[-5, 3], [5, 3], [3, 5], [7, -1]]
        assert handle.passes == 1
        assert handle.verdict.scores is None
        assert handle.verdict.flagged.tolist() == [True] * 4


def test_detected_before_repaired_takes_one_pass():
    model = Line()
    with attach_layers(model, [DETECTS_EARLY, SHIFTS_LATE], ONE) as handle:
        assert handle.passes == 1
        # late = 2 x - (4, 1) where x > 5.
        assert model(BATCH).tolist() == [CLEAN[0], [9, 4], CLEAN[2], [11, 0]]
        assert handle.verdict.scores.tolist() == [1, 6, 5, 7]
        assert handle.verdict.flagged.tolist() == [False, True, False, True]


def test_detected_after_repaired_takes_a_second_pass_of_the_flagged_only():
    model, seen = Line(), []
    model.early.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE) as handle:
        assert handle.passes == 2
        seen.clear()
        assert model(BATCH).tolist() == [CLEAN[0], [5, 3], CLEAN[2], [7, -1]]
        assert seen == [4, 2]
        assert handle.verdict.scores.tolist() == [2, 12, 10, 14]  # Of the first pass.
        assert handle.verdict.flagged.tolist() == [False, True, False, True]
        seen.clear()
        model(BATCH[:1])
        assert seen == [1]
        assert handle.passes_made == 4  # Two of the proof.


def test_one_layer_that_detects_and_repairs():
    layer = replace(DETECTS_EARLY, correction=SHIFTS_EARLY.correction)
    model = Line()
    with attach_layers(model, [layer], ONE) as handle:
        assert handle.passes == 1
        assert model(BATCH).tolist() == [CLEAN[0], [5, 3], CLEAN[2], [7, -1]]


def test_the_clamp_moves_back_to_the_anchor():
    model = Line()
    clamp = clamps("early", (2,), torch.tensor([3.0, 0.0]), threshold=5.0, anchor=1.0)
    with attach_layers(model, [clamp], ONE):
        assert model(BATCH).tolist() == [CLEAN[0], [3, 5], CLEAN[2], [3, 1]]
    with attach_layers(model, [clamp, detects("late", (2,), X, 13.0)], ONE):
        assert model(BATCH).tolist() == [*CLEAN[:3], [3, 1]]


def test_several_repairing_layers():
    model = Line()
    layers = [SHIFTS_EARLY, replace(DETECTS_LATE, correction=SHIFTS_LATE.correction)]
    with attach_layers(model, layers, ONE) as handle:
        assert handle.passes == 2
        # 2 (x - (4, 1)) - (4, 1) + 1
        assert model(BATCH).tolist() == [CLEAN[0], [1, 2], CLEAN[2], [3, -2]]


def test_the_order_of_the_layers_in_the_bundle_does_not_matter():
    for layers in ([SHIFTS_EARLY, DETECTS_LATE], [DETECTS_LATE, SHIFTS_EARLY]):
        model = Line()
        with attach_layers(model, layers, ONE) as handle:
            assert handle.passes == 2
            assert model(BATCH).tolist() == [CLEAN[0], [5, 3], CLEAN[2], [7, -1]]


def test_only_what_is_predicted_as_the_target_is_flagged():
    detection = detects("early", (2,), X, 0.0, only_target=True)
    batch = torch.tensor([[3.0, 1.0], [3.0, 4.0], [-1.0, -2.0]])  # Classes 0, 1, 0.
    for layers in (
        [replace(detection, correction=SHIFTS_EARLY.correction)],
        [detection, SHIFTS_LATE],
    ):
        model = Line()
        with attach_layers(model, layers, ONE, target=0) as handle:
            assert handle.passes == 2  # The prediction is known at the end of a pass.
            answers = model(batch)
            assert handle.verdict.flagged.tolist() == [True, False, False]
            assert handle.verdict.scores.tolist() == [3, 3, -1]
            assert answers[1:].tolist() == (batch * 2 + 1)[1:].tolist()
            assert answers[0].tolist() != (batch * 2 + 1)[0].tolist()


def test_observing_judges_and_changes_nothing():
    for layers in ([DETECTS_EARLY, SHIFTS_LATE], [SHIFTS_EARLY, DETECTS_LATE], [DETECTS_EARLY]):
        model = Line()
        with attach_layers(model, layers, ONE, mode="observe") as handle:
            assert model(BATCH).tolist() == CLEAN
            assert handle.passes == 1
            assert handle.verdict.flagged.tolist() == [False, True, False, True]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("only_target", [False, True])
def test_a_feature_that_is_not_finite_is_flagged(value, only_target):
    batch = torch.tensor([[1.0, 2.0], [value, 0.0]])
    detection = replace(DETECTS_LATE, detection=Detection(X, 10.0, only_target))
    model = Line()
    with attach_layers(model, [SHIFTS_EARLY, detection], ONE, target=1) as handle:
        model(batch)
        assert handle.verdict.flagged.tolist() == [False, True]


# Several repairs -------------------------------------------------------------------------------


def repair_for(target, weight, threshold, direction, *, detection="early", correction="late"):
    """A repair of `Line` for a trigger that leads to one class."""
    return [
        replace(detects(detection, (2,), weight, threshold, only_target=True), target=target),
        replace(shifts(correction, (2,), torch.tensor(direction)), target=target),
    ]


Y = torch.tensor([0.0, 1.0])
TWO_REPAIRS = [
    *repair_for(0, X, 5.0, [8.0, 0.0]),
    *repair_for(1, Y, 5.0, [0.0, 10.0], detection="late", correction="early"),
]
"""Of what is predicted as 0: x > 5, moved by -8; of what as 1: 2 y > 5, moved by -20."""
MIXED = torch.tensor([[6.0, 2.0], [1.0, 4.0], [6.0, 5.0], [5.0, 6.0], [4.0, 1.0], [1.0, 2.0]])
"""Classes 0, 1, 0, 1, 0, 1. Each repair's score exceeds its threshold in the second two as well,
where only the one whose target is predicted may act; none acts on the last two."""


def test_each_repair_moves_the_rows_of_its_own_target():
    model, seen = Line(), []
    model.early.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    with attach_layers(model, TWO_REPAIRS, ONE) as handle:
        assert handle.passes == 2
        seen.clear()
        answers = model(MIXED)
        assert seen == [6, 2, 2]
        verdict = handle.verdict
    plain = MIXED * 2 + 1
    expected = plain - torch.tensor(
        [[8.0, 0.0], [0.0, 20.0], [8.0, 0.0], [0.0, 20.0], [0.0, 0.0], [0.0, 0.0]]
    )
    assert torch.equal(answers, expected)
    assert verdict.flagged.tolist() == [True] * 4 + [False] * 2
    # x where 0 is predicted, 2 y where 1 is.
    assert verdict.scores.tolist() == [6, 8, 6, 12, 4, 4]
    assert torch.equal(model(MIXED), plain)
    assert not any(hooks_of(model)[1:][1:])


def test_several_repairs_do_what_each_does_alone():
    model = Line()
    with attach_layers(model, TWO_REPAIRS, ONE) as handle:
        together, flagged = model(MIXED), handle.verdict.flagged
    predicted = (MIXED * 2 + 1).argmax(1)
    for target in (0, 1):
        own = [layer for layer in TWO_REPAIRS if layer.target == target]
        rows = predicted == target
        with attach_layers(model, own, ONE) as handle:
            assert torch.equal(model(MIXED)[rows], together[rows])
            assert torch.equal(handle.verdict.flagged, flagged & rows)
        # Named by the layers or by the call: the same.
        with attach_layers(
            model, [replace(x, target=None) for x in own], ONE, target=target
        ) as handle:
            assert torch.equal(model(MIXED)[rows], together[rows])


def test_several_repairs_of_a_network():
    model, batch = built(Vectors), torch.randn(40, 6, generator=torch.Generator().manual_seed(3))
    plain = model(batch)
    first, second = plain.argmax(1).unique()[:2].tolist()
    layers = [
        replace(detects("third", (8,), torch.ones(8), -1e6, only_target=True), target=first),
        replace(shifts("first", (8,), torch.full((8,), 3.0)), target=first),
        replace(detects("first", (8,), torch.ones(8), -1e6, only_target=True), target=second),
        replace(shifts("first", (8,), torch.full((8,), -3.0)), target=second),
    ]
    with pytest.raises(AttachError, match="stands there twice"):
        attach_layers(model, layers, batch[:1])
    layers[2:] = [replace(layers[2], correction=layers[3].correction)]
    with torch.inference_mode(), attach_layers(model, layers, batch[:1]) as handle:
        answers, flagged = model(batch), handle.verdict.flagged
    predicted = plain.argmax(1)
    assert torch.equal(flagged, (predicted == first) | (predicted == second))
    assert torch.equal(answers[~flagged], plain[~flagged])
    for target, repair in ((first, layers[1]), (second, replace(layers[2], detection=None))):
        with attach_layers(model, [repair], batch[:1]):
            moved = model(batch[predicted == target])
        assert torch.equal(answers[predicted == target], moved)
    assert torch.equal(model(batch), plain)
    assert not any(hooks_of(model))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_one_of_several_repairs_cannot_judge_is_flagged_once(value):
    # The detecting layer of class 1's repair alone sees what is not finite.
    layers = [
        *repair_for(0, torch.tensor([1.0, 0.0]), 100.0, [8.0, 0.0]),
        *repair_for(1, Y, 100.0, [0.0, 8.0], detection="spare"),
    ]

    class Spared(Line):
        def __init__(self):
            super().__init__()
            self.spare = nn.Identity()
            self.late_rows = []

        def forward(self, x):
            self.late_rows.append(len(x))
            self.spare(torch.where(x > 50, value, x))
            return super().forward(x)

    batch = torch.tensor([[60.0, 0.0], [1.0, 0.0], [0.0, 60.0], [0.0, 1.0]])
    model = Spared().eval()
    with attach_layers(model, layers, ONE) as handle:
        model.late_rows.clear()
        answers = model(batch)
        assert handle.verdict.flagged.tolist() == [True, False, True, False]
        assert model.late_rows == [4, 1, 1]
    assert answers.tolist() == [[113, 1], [3, 1], [1, 113], [1, 3]]


def test_observing_several_repairs():
    model = Line()
    with attach_layers(model, TWO_REPAIRS, ONE, mode="observe") as handle:
        assert torch.equal(model(MIXED), MIXED * 2 + 1)
        assert handle.passes == 1
        assert handle.verdict.flagged.tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize("size", [0, 1])
def test_several_repairs_of_no_and_of_one_sample(size):
    with attach_layers(model := Line(), TWO_REPAIRS, ONE) as handle:
        assert model(MIXED[:size]).shape == (size, 2)
        assert handle.verdict.flagged.tolist() == [True] * size


@pytest.mark.parametrize("broken", [0, 1])
def test_the_corrections_of_every_repair_are_proved(broken):
    layers = list(TWO_REPAIRS)
    at = 2 * broken + 1
    beyond = Shift(torch.full((2,), 1e38), 1e38)
    layers[at] = replace(layers[at], correction=beyond)
    refused(Line(), layers, f"layer '{layers[at].name}': the correction leaves the range")
    layers = [
        replace(layer, target=7) if layer.target == broken else layer for layer in TWO_REPAIRS
    ]
    refused(Line(), layers, "target 7: the model has 2 classes")
    layers[2 * broken + 1] = replace(layers[2 * broken + 1], name="lat")
    refused(Line(), layers, "nearest are late")


def test_several_repairs_that_do_not_fit_each_other():
    first, second = TWO_REPAIRS[:2], TWO_REPAIRS[2:]
    refused(Line(), [*first, second[1]], "a repair does not detect, expected each of several to")
    anyone = replace(second[0], detection=Detection(Y, 5.0))
    refused(Line(), [*first, anyone, second[1]], "target 1: beside other targets, expected a layer")
    refused(Line(), [*first, second[0]], "needs a layer that repairs")
    unnamed = [replace(layer, target=None) for layer in second]
    refused(Line(), [*first, *unnamed], "give the target")
    refused(Line(), [*first, *unnamed], "one of them stands there twice", target=0)
    attach_layers(Line(), [*first, *unnamed], ONE, target=1).detach()


# Several repairs for one target ----------------------------------------------------------------


def cascade(first, second, *, first_at=5.0, second_at=3.0):
    """Two repairs of `Line` for class 0, by x, that move by what is given."""
    layers = repair_for(0, X, first_at, first)
    return [*layers, *(replace(x, repair=1) for x in repair_for(0, X, second_at, second))]


ROWS = torch.tensor([[6.0, 2.0], [4.0, 1.0], [2.0, 1.0], [6.0, 8.0]])
"""Classes 0, 0, 0, 1. Both repairs flag the first, the second one alone the next, none the rest."""


@pytest.mark.parametrize(
    ("first", "seen", "moved"),
    [
        # To (3, 5): the first repair leads away from the target, and the second is not asked.
        ([10.0, 0.0], [4, 1, 1], [10.0, 0.0]),
        # To (11, 5): the first one leaves it there, so the second one is asked for it, too.
        ([2.0, 0.0], [4, 1, 2], [0.0, -20.0]),
    ],
)
def test_the_second_repair_is_asked_for_what_the_first_leaves_at_the_target(first, seen, moved):
    model, sizes = Line(), []
    model.early.register_forward_hook(lambda module, args, output: sizes.append(len(output)))
    with attach_layers(model, cascade(first, [0.0, -20.0]), ONE) as handle:
        assert handle.passes == 2
        sizes.clear()
        answers = model(ROWS)
        assert sizes == seen
        assert handle.verdict.flagged.tolist() == [True, True, False, False]
        assert handle.verdict.scores.tolist() == [6, 4, 2, 6]
        assert [one.tolist() for one in handle.verdict.detector_scores] == [[6, 4, 2, 6]] * 2
    expected = ROWS * 2 + 1
    expected[0] -= torch.tensor(moved)
    expected[1] -= torch.tensor([0.0, -20.0])
    assert torch.equal(answers, expected)
    assert torch.equal(answers[2:], (ROWS * 2 + 1)[2:])
    assert torch.equal(model(ROWS), ROWS * 2 + 1)


def test_the_order_of_the_layers_says_which_repair_is_the_first():
    first, second = cascade([10.0, 0.0], [0.0, -20.0])[:2], cascade([], [0.0, -20.0])[2:]
    for layers, moved in (([*first, *second], [10.0, 0.0]), ([*second, *first], [0.0, -20.0])):
        with attach_layers(model := Line(), layers, ONE):
            assert torch.equal(model(ROWS[:1]), ROWS[:1] * 2 + 1 - torch.tensor(moved))


def test_repairs_for_one_target_beside_one_for_another():
    # The first of the two leaves class 0 where it is, and what is led to class 1 ends there.
    layers = [*cascade([2.0, 0.0], [0.0, -20.0]), *repair_for(1, Y, 5.0, [0.0, 30.0])]
    with attach_layers(model := Line(), layers, ONE) as handle:
        answers = model(ROWS)
        assert handle.verdict.flagged.tolist() == [True, True, False, True]
    moves = torch.tensor([[0.0, -20.0], [0.0, -20.0], [0.0, 0.0], [0.0, 30.0]])
    assert torch.equal(answers, ROWS * 2 + 1 - moves)


def test_observing_several_repairs_for_one_target():
    layers = cascade([2.0, 0.0], [0.0, -20.0])
    with attach_layers(model := Line(), layers, ONE, mode="observe") as handle:
        assert torch.equal(model(ROWS), ROWS * 2 + 1)
        assert (handle.passes, handle.verdict.flagged.tolist()) == (1, [True, True, False, False])


@pytest.mark.parametrize("only_target", [True, False])
def test_of_repairs_for_one_target_each_detects(only_target):
    layers = cascade([2.0, 0.0], [0.0, -20.0])
    anyone = [replace(x, detection=x.detection and Detection(X, 5.0, only_target)) for x in layers]
    attach_layers(Line(), anyone, ONE).detach()
    refused(Line(), [*layers[:2], layers[3]], "a repair does not detect, expected each of several")
    refused(Line(), [layers[1], *layers[2:]], "a repair does not detect, expected each of several")
    refused(Line(), layers[:3], "needs a layer that repairs")
    same = [replace(layer, repair=0) for layer in layers]
    refused(Line(), same, "one of them stands there twice")


def test_without_asking_for_a_target_the_first_repair_that_flags_is_the_only_one():
    layers = [replace(x, target=None) for x in cascade([2.0, 0.0], [0.0, -20.0])]
    for i in (0, 2):
        layers[i] = replace(layers[i], detection=replace(layers[i].detection, only_target=False))
    with attach_layers(model := Line(), layers, ONE) as handle:
        answers = model(ROWS)
        assert handle.verdict.flagged.tolist() == [True, True, False, True]
    moves = torch.tensor([[2.0, 0.0], [0.0, -20.0], [0.0, 0.0], [2.0, 0.0]])
    assert torch.equal(answers, ROWS * 2 + 1 - moves)


# Clean samples stay bit for bit ----------------------------------------------------------------

PLACES = [
    (Conv, "conv1", "conv3", (8, 6, 6)),
    (Conv, "conv3", "conv1", (8, 1, 1)),
    (Conv, "bn1", "conv3", (8, 1, 1)),
    (Conv, "conv3", "bn1", (8, 6, 6)),
    (Conv, "bn1", "bn1", (8, 6, 6)),
    (Tokens, "embed", "norm", (5, 8)),
    (Tokens, "norm", "attention", (1, 8)),
    (Tokens, "attention", "attention", (5, 8)),
    (Tokens, "attention", "turned", (8, 5)),
    (Tokens, "embed", "picked", (8,)),
    (Tokens, "picked", "turned", (8, 1)),
    (Vectors, "first", "third", (8,)),
    (Vectors, "third", "first", (8,)),
    (Recurrent, "first", "second", (5, 8)),
    (Recurrent, "second", "first", (1, 8)),
]
VARIANTS = {
    "float32": lambda t: t,
    "bfloat16": lambda t: t.to(torch.bfloat16),
    "float16": lambda t: t.to(torch.float16),
    "channels last": lambda t: t.to(memory_format=torch.channels_last),
    "strided": lambda t: torch.stack([t, t], 1)[:, 0],
}


def half_flagged(model, detection, shape, batch):
    """A detecting layer whose threshold half of the batch exceeds."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    layer = detects(detection, shape, weight, 0.0)
    with attach_layers(model, [layer], batch[:1], mode="observe") as handle:
        model(batch)
        threshold = float(handle.verdict.scores.median())
    return detects(detection, shape, weight, threshold)


@pytest.mark.parametrize(
    ("kind", "detection", "correction", "of", "variant"),
    [(*at, v) for at in PLACES for v in VARIANTS if v != "channels last" or at[0] is Conv],
)
def test_clean_samples_are_bit_identical(kind, detection, correction, of, variant):
    batch = VARIANTS[variant](torch.randn(12, *SHAPES[kind]))
    model = built(kind, batch.dtype)
    if variant == "channels last":
        model = model.to(memory_format=torch.channels_last)
    direction = 20 * torch.randn(of, generator=torch.Generator().manual_seed(2))
    judge = half_flagged(model, detection, FEATURES[kind, detection], batch)
    for repair in (
        shifts(correction, FEATURES[kind, correction], direction),
        clamps(correction, FEATURES[kind, correction], direction, threshold=-1e6, anchor=50),
    ):
        layers = [judge, repair]
        if detection == correction:
            layers = [replace(judge, correction=repair.correction)]
        with torch.inference_mode():
            plain = model(batch)
            with attach_layers(model, layers, batch[:1]) as handle:
                answers = model(batch)
            flagged = handle.verdict.flagged
            assert 0 < int(flagged.sum()) < len(batch)
            assert torch.equal(answers[~flagged], plain[~flagged])
            assert (answers[flagged] != plain[flagged]).any(1).all()
            assert answers.dtype == plain.dtype
            assert torch.equal(model(batch), plain)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_repair_in_one_pass_is_that_of_the_second_pass(kind):
    model, batch = built(kind), torch.randn(12, *SHAPES[kind])
    first, second = [name for k, name in FEATURES if k is kind and name != "head"][:2]
    direction = torch.randn(FEATURES[kind, second])
    judge = half_flagged(model, first, FEATURES[kind, first], batch)
    repair = shifts(second, FEATURES[kind, second], direction)
    with attach_layers(model, [judge, repair], batch[:1]) as handle:
        assert handle.passes == 1
        once = model(batch)
        flagged = handle.verdict.flagged
    with attach_layers(model, [repair], batch[:1]):
        every = model(batch)
    assert torch.equal(once[flagged], every[flagged])


@pytest.mark.parametrize(("kind", "detection", "correction", "of"), PLACES)
def test_strength_0_changes_nothing(kind, detection, correction, of):
    model, batch = built(kind), torch.randn(6, *SHAPES[kind])
    plain = model(batch)
    for form in (shifts, clamps):
        layer = form(correction, FEATURES[kind, correction], torch.randn(of), 0.0)
        with attach_layers(model, [layer], batch[:1]):
            assert torch.equal(model(batch), plain)
    # Repeated in a smaller batch, an answer may round otherwise.
    if detection != correction:
        judge = half_flagged(model, detection, FEATURES[kind, detection], batch)
        with attach_layers(model, [judge, layer], batch[:1]):
            assert torch.allclose(model(batch), plain, atol=1e-6)


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("layers", [[DETECTS_EARLY, SHIFTS_LATE], [SHIFTS_EARLY, DETECTS_LATE]])
def test_batches_of_no_and_of_one_sample(layers, size):
    model = Line()
    with attach_layers(model, layers, ONE) as handle:
        assert model(BATCH[:size]).shape == (size, 2)
        assert handle.verdict.flagged.tolist() == [False] * size
        assert len(handle.verdict.scores) == size
        model(BATCH[1 : 1 + size])
        assert handle.verdict.flagged.tolist() == [True] * size
    with attach_layers(model, [SHIFTS_EARLY], ONE) as handle:
        assert model(BATCH[:size]).shape == (size, 2)
        assert handle.verdict.flagged.tolist() == [True] * size


def test_a_second_pass_keeps_the_gradient():
    model = Line()
    batch = BATCH.clone().requires_grad_()
    with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE) as handle:
        model(batch).sum().backward()
        assert not handle.verdict.scores.requires_grad
    assert batch.grad.tolist() == [[2, 2]] * 4


def test_autocast():
    model, batch = built(Vectors), torch.randn(12, 6)
    judge = half_flagged(model, "third", (8,), batch)
    repair = shifts("first", (8,), torch.randn(8))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        plain = model(batch)
        with attach_layers(model, [judge, repair], batch[:1]) as handle:
            answers = model(batch)
        flagged = handle.verdict.flagged
        assert handle.verdict.scores.dtype == torch.float32
        assert torch.equal(answers[~flagged], plain[~flagged])


# Inputs and outputs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrap", "logits"),
    [
        (lambda t: (t, None), lambda out: out[0]),
        (lambda t: [t, torch.tensor(1.0)], lambda out: out[0]),
        (lambda t: Out(t, t * 2), lambda out: out.logits),
        (lambda t: {"logits": t, "loss": torch.tensor(0.0)}, lambda out: out["logits"]),
        (lambda t: OrderedDict(logits=(t,)), lambda out: out["logits"][0]),
        (lambda t: Answered(t, torch.tensor(0.0)), lambda out: out.logits),
        (lambda t: ImageClassifierOutput(logits=t), lambda out: out.logits),
    ],
)
@pytest.mark.parametrize("layers", [[DETECTS_EARLY, SHIFTS_LATE], [SHIFTS_EARLY, DETECTS_LATE]])
def test_models_that_return_more_than_a_tensor(wrap, logits, layers):
    plain, model = Line(), Line(wrap)
    with attach_layers(plain, layers, ONE), attach_layers(model, layers, ONE):
        expected, answers = plain(BATCH), model(BATCH)
    assert torch.equal(logits(answers), expected)
    assert type(answers) is type(wrap(expected))
    if isinstance(answers, Out):
        assert torch.equal(answers.extra, expected * 2)


@pytest.mark.parametrize("layers", [[DETECTS_EARLY, SHIFTS_LATE], [SHIFTS_EARLY, DETECTS_LATE]])
def test_inputs_by_keyword(layers):
    class Keywords(Line):
        def forward(self, x, *, scale=1, bias=None):
            return super().forward(x * scale) + (0 if bias is None else bias)

    model, plain = Keywords(), Line()
    bias = torch.arange(4.0).view(4, 1)
    with attach_layers(plain, layers, ONE), attach_layers(model, layers, ONE) as handle:
        assert torch.equal(model(x=BATCH, bias=bias), plain(BATCH) + bias)
        assert handle.verdict.flagged.tolist() == [False, True, False, True]
        assert torch.equal(model(BATCH / 2, scale=2, bias=bias), plain(BATCH) + bias)


@pytest.mark.parametrize(
    ("wrap", "reason"),
    [
        (lambda t: t.t(), "no tensor with one row per input sample"),
        (lambda t: t.sum(), "no tensor with one row per input sample"),
        (lambda t: t.squeeze(0), "no tensor with one row per input sample"),
        (lambda t: t.argmax(1).tolist(), "no tensor with one row per input sample"),
        (lambda t: (t, "name"), "returned str"),
    ],
)
def test_an_output_in_which_flagged_samples_cannot_be_replaced_is_refused(wrap, reason):
    model = Line(wrap)
    with pytest.raises(AttachError, match=reason):
        attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE)
    assert not any(hooks_of(model))
    attach_layers(model, [DETECTS_EARLY, SHIFTS_LATE], ONE).detach()  # One pass puts nothing back.


# Coming and going ------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [[DETECTS_EARLY, SHIFTS_LATE], [SHIFTS_EARLY, DETECTS_LATE]])
def test_detaching_leaves_no_trace(layers):
    model = Line()
    state, attributes = copy.deepcopy(model.state_dict()), set(vars(model))
    handle = attach_layers(model, layers, ONE)
    assert model(BATCH).tolist() != CLEAN
    assert list(model.state_dict()) == list(state)
    handle.detach()
    handle.detach()
    assert not any(hooks_of(model))
    assert set(vars(model)) == attributes
    assert model(BATCH).tolist() == CLEAN


@pytest.mark.parametrize("layers", [[DETECTS_EARLY, SHIFTS_LATE], [SHIFTS_EARLY, DETECTS_LATE]])
def test_the_hooks_of_others_stay_and_run_once_on_the_whole_model(layers):
    model, calls = Line(), []

    def pre(module, args):
        calls.append("pre")
        return (args[0] + 1,)

    def post(name):
        def hook(module, args, output):
            calls.append(name)
            return output * 10

        return hook

    model.register_forward_pre_hook(pre)
    model.register_forward_hook(post("before"))
    layer_hook = model.early.register_forward_hook(lambda module, args, output: None)
    handle = attach_layers(model, layers, ONE)
    model.register_forward_hook(post("after"))
    calls.clear()
    answers = model(BATCH - 1)
    assert calls == ["pre", "before", "after"]
    plain = Line()
    with attach_layers(plain, layers, ONE):
        assert torch.equal(answers, plain(BATCH) * 100)
    handle.detach()
    assert layer_hook.id in model.early._forward_hooks
    assert len(model._forward_hooks) == 2
    assert len(model._forward_pre_hooks) == 1
    assert (model(BATCH - 1) / 100).tolist() == CLEAN


def test_the_with_block_detaches_after_an_exception_too():
    model = Line()
    with pytest.raises(KeyError), attach_layers(model, [SHIFTS_EARLY], ONE):
        raise KeyError
    assert not any(hooks_of(model))


def test_with_blocks_in_turn():
    model = Line()
    for _ in range(3):
        with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE):
            assert model(BATCH).tolist()[1] == [5, 3]
        assert model(BATCH).tolist() == CLEAN


def test_nested_with_blocks_of_two_models():
    one, two = Line(), Line()
    with attach_layers(one, [SHIFTS_EARLY, DETECTS_LATE], ONE) as outer:
        with attach_layers(two, [DETECTS_EARLY, SHIFTS_LATE], ONE) as inner:
            assert one(BATCH).tolist()[1] == [5, 3]
            assert two(BATCH[:1]).tolist() == CLEAN[:1]
            assert len(outer.verdict.flagged) == 4
            assert len(inner.verdict.flagged) == 1
        assert not any(hooks_of(two))
        assert one(BATCH).tolist()[1] == [5, 3]


def test_two_bundles_at_once_are_refused_and_the_first_stays():
    # A second pass of one would be a pass of the other too, of some samples only.
    model = Line()
    with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE):
        for layers in ([SHIFTS_EARLY, DETECTS_LATE], [DETECTS_EARLY], [SHIFTS_LATE]):
            mode = "repair" if any(layer.correction for layer in layers) else "observe"
            with pytest.raises(AttachError, match="corrections attached already: detach them"):
                attach_layers(model, layers, ONE, mode=mode)
        with pytest.raises(AttachError, match="corrections attached already"):
            attach_layers(nn.Sequential(model).eval(), [replace(SHIFTS_EARLY, name="0.early")], ONE)
        assert model(BATCH).tolist() == [CLEAN[0], [5, 3], CLEAN[2], [7, -1]]
    assert not any(hooks_of(model))


def test_two_threads_that_attach_at_once_do_not_both():
    class Between(Line):
        """Attaches corrections where another thread would: while others are made ready."""

        first = None

        def parameters(self, recurse=True):
            if self.first is None:
                self.first = ()
                self.first = attach_layers(self, [SHIFTS_EARLY, DETECTS_LATE], ONE)
            return super().parameters(recurse)

    model = Between()
    with pytest.raises(AttachError, match="corrections attached already"):
        # The device of the model is asked for.
        attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], lambda: model(ONE))
    assert model(BATCH).tolist()[1] == [5, 3]
    model.first.detach()
    assert not any(hooks_of(model))


def test_an_exception_in_the_model_leaves_the_next_call_usable():
    class Moody(Line):
        angry = False

        def forward(self, x):
            if self.angry and len(x) < 4:
                self.early(x)
                raise KeyError("angry")
            return super().forward(x)

    model = Moody()
    with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE) as handle:
        repaired = model(BATCH)
        model.angry = True
        for batch in (BATCH[:2], BATCH):  # In the first pass, and in the second.
            with pytest.raises(KeyError, match="angry"):
                model(batch)
            with pytest.raises(RepairError, match="no forward pass was made"):
                _ = handle.verdict
            with pytest.raises(RuntimeError):
                model(torch.zeros(3, 3, 3) @ torch.zeros(2, 2))
        model.angry = False
        assert torch.equal(model(BATCH), repaired)
        assert handle.verdict.flagged.tolist() == [False, True, False, True]
    model.angry = True
    with pytest.raises(AttachError, match="do not fit the model: 'angry'"):
        attach_layers(model, [SHIFTS_EARLY], ONE)
    assert not any(hooks_of(model))


def test_there_is_no_verdict_before_the_first_pass():
    model = Line()
    with (
        attach_layers(model, [SHIFTS_EARLY], ONE) as handle,
        pytest.raises(RepairError, match="no forward pass was made"),
    ):
        _ = handle.verdict


def test_threads_get_their_own_verdicts():
    model = Line()
    threads, rounds, failures = 8, 100, []
    barrier = threading.Barrier(threads)
    with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE) as handle:

        def work(seed):
            generator = torch.Generator().manual_seed(seed)
            before = handle.passes_made
            barrier.wait()
            for _ in range(rounds):
                size = int(torch.randint(1, 6, (1,), generator=generator))
                batch = torch.randint(0, 10, (size, 2), generator=generator).float()
                flagged = batch[:, 0] > 5
                expected = batch * 2 + 1
                expected[flagged] -= torch.tensor([8.0, 2.0])
                with torch.inference_mode():
                    answers = model(batch)
                verdict = handle.verdict
                if not (
                    torch.equal(answers, expected)
                    and torch.equal(verdict.flagged, flagged)
                    and torch.equal(verdict.scores, batch[:, 0] * 2)
                ):
                    failures.append(batch)
            if handle.passes_made - before != rounds:
                failures.append("passes_made")

        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        with pytest.raises(RepairError, match="no forward pass was made"):
            _ = handle.verdict  # This thread made none.
    assert failures == []


# What is refused -------------------------------------------------------------------------------


def refused(model, layers, reason, example=ONE, **options):
    before = hooks_of(model)
    with pytest.raises(AttachError, match=reason) as caught:
        attach_layers(model, layers, example, **options)
    assert "\n" not in str(caught.value)
    assert hooks_of(model) == before
    return str(caught.value)


def test_a_script_module_is_refused():
    scripted = torch.jit.script(built(Vectors))
    traced = torch.jit.trace(built(Vectors), torch.zeros(1, 6))
    layers = [shifts("first", (8,), torch.ones(8))]
    for model in (scripted, traced):
        with pytest.raises(AttachError, match=r"ScriptModule, .*bring the Python model file"):
            attach_layers(model, layers, torch.zeros(1, 6))


def test_a_traced_submodule_is_refused_and_named():
    inner = torch.jit.trace(built(Vectors), torch.zeros(1, 6))
    model = nn.Sequential(OrderedDict(body=inner, last=nn.Linear(4, 2))).eval()
    layers = [shifts("last", (2,), torch.ones(2))]
    refused(model, layers, "layer 'body' is a ScriptModule", torch.zeros(1, 6))


def test_a_missing_layer_is_refused_with_the_near_ones():
    refused(Line(), [replace(SHIFTS_EARLY, name="earl")], "nearest are early")


def test_training_mode_is_refused():
    refused(Line().train(), [SHIFTS_EARLY], r"the model is in training mode: call model.eval\(\)")
    model = built(Conv)
    model.bn1.train()
    layers = [shifts("conv1", (8, 6, 6), torch.ones(8, 1, 1))]
    refused(model, layers, "layer 'bn1' is in training mode", torch.zeros(1, 3, 6, 6))


def test_a_layer_that_runs_twice_is_refused():
    class Twice(Line):
        def forward(self, x):
            return super().forward(self.early(x))

    refused(Twice(), [SHIFTS_EARLY], "layer 'early' runs several times in one forward pass")
    refused(Twice(), [DETECTS_EARLY, SHIFTS_LATE], "layer 'early' runs several times")


def test_a_layer_that_never_runs_is_refused():
    model = Line()
    model.spare = nn.Identity().eval()
    refused(model, [replace(SHIFTS_EARLY, name="spare")], "layer 'spare' did not run, or its hook")
    refused(
        model, [replace(DETECTS_EARLY, name="spare"), SHIFTS_EARLY], "layer 'spare' did not run"
    )
    refused(
        model,
        [DETECTS_EARLY, replace(SHIFTS_EARLY, name="spare")],
        "'spare' did not",
        mode="observe",
    )


def test_a_layer_whose_hook_never_fires_is_refused():
    # MultiheadAttention reads the weights of out_proj and does not call it.
    layers = [shifts("attention.out_proj", (5, 8), torch.ones(1, 8))]
    refused(built(Tokens), layers, "'attention.out_proj' did not run, or", torch.zeros(1, 5, 6))


def test_a_model_that_is_called_around_its_hooks_is_refused():
    class Bare(nn.Module):
        def __call__(self, x):
            return self.forward(x)

    class Inner(Bare):
        def forward(self, x):
            return x

    class Net(Bare):
        def __init__(self, inner):
            super().__init__()
            self.early = inner.eval()

        def forward(self, x):
            return self.early(x)

    refused(Net(Inner()).eval(), [SHIFTS_EARLY], "the model runs without its hooks")
    refused(Net(nn.Identity()).eval(), [SHIFTS_EARLY], "run outside a forward pass of the model")


def test_a_layer_that_stops_running_is_an_error_and_no_answer():
    class Lazy(Line):
        lazy = False

        def forward(self, x):
            return x if self.lazy else super().forward(x)

    model = Lazy()
    with attach_layers(model, [DETECTS_EARLY, SHIFTS_LATE], ONE) as handle:
        model.lazy = True
        with pytest.raises(RepairError, match="the input would be answered without repair"):
            model(BATCH)
        with pytest.raises(RepairError, match="no forward pass"):
            _ = handle.verdict


def test_layers_that_change_their_order_are_an_error_and_no_answer():
    class Turning(Line):
        turned = False

        def forward(self, x):
            first, second = (self.late, self.early) if self.turned else (self.early, self.late)
            return second(first(x))

    model = Turning()
    with attach_layers(model, [DETECTS_EARLY, SHIFTS_LATE], ONE):
        model(BATCH)
        model.turned = True
        with pytest.raises(RepairError, match="the detecting layer did not run before it"):
            model(BATCH)


def test_a_layer_run_by_itself_is_an_error():
    model = Line()
    with (
        attach_layers(model, [SHIFTS_EARLY], ONE),
        pytest.raises(RepairError, match="'early' was run outside a forward pass of the model"),
    ):
        model.early(BATCH)
    assert model.early(BATCH) is BATCH


def test_hooks_that_somebody_removed_are_an_error_and_no_answer():
    for module in ("early", "late"):
        model = Line()
        with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE):
            getattr(model, module)._forward_hooks.clear()
            with pytest.raises(RepairError, match=f"layer '{module}' did not run, or its hook"):
                model(BATCH)


def test_all_hooks_removed_by_somebody_show_in_the_passes_made():
    model = Line()
    with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE) as handle:
        model(BATCH)
        before = handle.passes_made
        for module in model.modules():
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
        model(BATCH)
        assert handle.passes_made == before


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([replace(SHIFTS_EARLY, feature_shape=(3,))], r"of shape \(2,\), expected \(3,\)"),
        ([replace(SHIFTS_EARLY, feature_shape=(1, 2))], r"of shape \(2,\), expected \(1, 2\)"),
        ([], "needs a layer that repairs"),
        ([DETECTS_EARLY], "needs a layer that repairs"),
        (
            [DETECTS_EARLY, replace(SHIFTS_LATE, detection=DETECTS_LATE.detection)],
            "several layers detect",
        ),
        ([SHIFTS_EARLY, SHIFTS_EARLY], "one of them stands there twice"),
        (
            [shifts("early", (2,), X, 1e38), shifts("late", (2,), X * 1e38, 1e30)],
            "leaves the range",
        ),
    ],
)
def test_layers_that_do_not_fit(layers, reason):
    refused(Line(), layers, reason)


def test_options_that_do_not_fit():
    only = replace(DETECTS_EARLY, detection=Detection(X, 0.0, only_target=True))
    refused(Line(), [SHIFTS_EARLY], "mode 'reject', expected one of repair, observe", mode="reject")
    refused(Line(), [SHIFTS_EARLY], "'observe' needs a layer that detects", mode="observe")
    refused(Line(), [only, SHIFTS_LATE], "give the target")
    refused(Line(), [only, SHIFTS_LATE], "target 2: the model has 2 classes", target=2)
    refused(
        Line(lambda t: {"a": t, "b": t}),
        [only, SHIFTS_LATE],
        "output is a dict of .*, expected logits",
        target=0,
    )
    refused(Line(), [only], "target 9: the model has 2 classes", mode="observe", target=9)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: {"hidden": t + 1, "logits": t},
        lambda t: Answered(t, t),
        lambda t: ImageClassifierOutput(logits=t),
        lambda t: (t[:, :, None], t),
    ],
)
def test_the_target_is_looked_for_in_the_logits_of_what_a_model_returns(wrap):
    only = replace(DETECTS_EARLY, detection=Detection(X, 0.0, only_target=True))
    rows = torch.tensor([[3.0, 1.0], [3.0, 5.0]])
    with attach_layers(Line(wrap), [only, SHIFTS_LATE], ONE, target=0) as handle:
        handle._model(rows)
        assert handle.verdict.flagged.tolist() == [True, False]


def test_an_example_that_does_not_fit():
    layers = [shifts("first", (8,), torch.ones(8))]
    refused(built(Vectors), layers, "do not fit the model: ", torch.zeros(1, 7))
    refused(built(Vectors), layers, "do not fit the model: ", torch.zeros(1, 6).double())


def test_a_correction_beyond_half_precision_is_refused():
    model = built(Vectors, torch.float16)
    layers = [shifts("first", (8,), torch.full((8,), 1e5))]
    example = torch.zeros(1, 6, dtype=torch.float16)
    refused(model, layers, "the correction leaves the range of torch.float16", example)


def test_layers_whose_rows_are_not_the_samples():
    class Windows(Line):
        """Its late layer sees every sample as two."""

        def forward(self, x):
            x = self.late(torch.cat([self.early(x)] * 2))
            return x[: len(x) // 2]

    refused(Windows(), [SHIFTS_EARLY, DETECTS_LATE], "not have one feature per input sample")
    refused(Windows(), [DETECTS_EARLY, SHIFTS_LATE], "layer 'late': there is not one score per")
    model = Windows()
    with attach_layers(model, [SHIFTS_LATE], ONE):
        assert torch.equal(model(BATCH), BATCH - torch.tensor([4.0, 1.0]))


def test_a_layer_without_a_tensor():
    class Dict(nn.Module):
        def forward(self, x):
            return {"x": x}

    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Dict()

        def forward(self, x):
            return self.inner(x)["x"]

    layers = [shifts("inner", (2,), X)]
    refused(Holder().eval(), layers, "layer 'inner': features of shape no tensor")


def test_two_repairs_must_agree_on_the_shape_of_a_layer():
    layers = [*repair_for(0, X, 5.0, [10.0, 0.0]), *repair_for(1, X, 5.0, [10.0, 0.0])]
    layers[-1] = replace(layers[-1], feature_shape=(2, 1))
    refused(Line(), layers, r"features of shape \(2, 1\) in one repair and \(2,\) in another")


# Other ways to run a model ---------------------------------------------------------------------


def test_a_compiled_model():
    model = built(Vectors)
    batch = torch.randn(12, 6)
    judge = half_flagged(model, "third", (8,), batch)
    repair = shifts("first", (8,), torch.randn(8))
    with attach_layers(model, [judge, repair], batch[:1]) as handle:
        expected, flagged = model(batch), handle.verdict.flagged
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    plain = compiled(batch)
    with attach_layers(compiled, [judge, repair], batch[:1]) as handle, torch.no_grad():
        answers = compiled(batch)
        assert handle.passes == 2
        assert torch.equal(handle.verdict.flagged, flagged)
        assert torch.equal(answers[~flagged], plain[~flagged])
        assert torch.allclose(answers[flagged], expected[flagged], atol=1e-5)
    assert torch.equal(compiled(batch), plain)
    assert not any(hooks_of(model))


def test_a_model_compiled_in_place_or_in_part_is_refused():
    layers = [shifts("first", (8,), torch.ones(8))]
    model = built(Vectors)
    model.compile(backend="eager")
    refused(model, layers, "the model was compiled in place or by itself", torch.zeros(1, 6))
    part = nn.Sequential(OrderedDict(body=torch.compile(built(Vectors), backend="eager"))).eval()
    layers = [shifts("body._orig_mod.first", (8,), torch.ones(8))]
    refused(part, layers, "layer 'body' was compiled in place or by itself", torch.zeros(1, 6))


def test_a_transformer_layer_of_torch():
    # With hooks inside it, torch leaves its fused path: equal but for the last digits.
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.last = nn.Identity()
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.last(self.encoder(x)).mean(1))

    model, batch = built(Net), torch.randn(12, 5, 8)
    with torch.inference_mode():
        plain = model(batch)
        for name, shape in (("encoder.linear1", (5, 16)), ("encoder", (5, 8)), ("last", (5, 8))):
            judge = half_flagged(model, name, shape, batch)
            repair = shifts("last", (5, 8), torch.randn(1, 8))
            layers = (
                [judge, repair] if name != "last" else [replace(repair, detection=judge.detection)]
            )
            with attach_layers(model, layers, batch[:1]) as handle:
                answers = model(batch)
                flagged = handle.verdict.flagged
            assert torch.allclose(answers[~flagged], plain[~flagged], atol=1e-5)
            if name == "last":
                assert torch.equal(answers[~flagged], plain[~flagged])


def test_a_copy_of_the_layers_is_not_changed():
    layer = replace(DETECTS_EARLY, correction=SHIFTS_EARLY.correction)
    kept = layer.detection.weight.clone(), layer.correction.direction.clone()
    model = Line()
    with attach_layers(model, [layer], ONE):
        model(BATCH)
    assert torch.equal(layer.detection.weight, kept[0])
    assert torch.equal(layer.correction.direction, kept[1])


def test_the_answer_does_not_share_memory_with_the_input():
    model = Line(lambda t: t)
    batch = BATCH.clone()
    with attach_layers(model, [SHIFTS_EARLY, DETECTS_LATE], ONE):
        model(batch)
    assert torch.equal(batch, BATCH)


def test_a_verdict_is_of_tensors():
    model = Line()
    with attach_layers(model, [DETECTS_EARLY, SHIFTS_LATE], ONE) as handle:
        model(BATCH)
        assert isinstance(handle.verdict.scores, Tensor)
        assert handle.verdict.flagged.dtype == torch.bool
