"""Running the held-out samples through candidate repairs of one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Layer
from torchserve_fire.repair.attach import attach as attach_layers
from torchserve_fire.repair.corrections import build_correction
from torchserve_fire.repair.layers import device_of

from ..common.errors import CalibrationError
from ..common.hooks import edit_features
from ..samples.both import Both
from ..samples.predict import logits_of
from .held_out import Group, HeldOut

TRIAL_BATCH = 32
"""Samples that go on together; behind the layer they are so many for each repair."""

CLOSE = 1e-3
"""Share of the logits' range by which rounding may move them, in batches of other sizes."""

Move = Callable[[Tensor], Tensor]
"""What a correction does to features (n, *S)."""


def run_trials(
    model: nn.Module,
    held_out: HeldOut,
    repairs: Sequence[Sequence[Layer]],
    which: Both[Tensor],
) -> list[Both[Tensor]]:
    """Run held-out samples with each repair, on every one of them.

    What comes before the layer is run once for all repairs: behind it, the batch goes on once for
    each. Where the model does not allow of that (it brings something past the layer), each repair
    is run by itself.

    Args:
        model: in evaluation mode.
        held_out: the samples.
        repairs: all of the same layer; of each, for every fold, what was estimated without it.
        which: the clean (N,) and the triggered samples (M,) to run, bool; the others keep their
            logits.

    Returns:
        For each repair, the logits of the clean (N, classes) and of the triggered samples
        (M, classes).

    Raises:
        AttachError: the model has no such layer, or it cannot be repaired at.
        CalibrationError: the model fails.
    """
    if not repairs:
        return []
    name, device = repairs[0][0].name, device_of(model)
    example = held_out.triggered.load(torch.tensor([0])).to(device)
    # Proves that the layer can be repaired at.
    with attach_layers(model, [repairs[0][0]], example):
        pass
    moves = [
        [build_correction(layer.correction).to(device) for layer in folds if layer.correction]
        for folds in repairs
    ]
    together = len(repairs) if _goes_on_alone(model, name, held_out.triggered) else 1
    results = [held_out.map(lambda group: group.logits.clone()) for _ in repairs]
    for start in range(0, len(repairs), together):
        part = moves[start : start + together]
        for is_clean, group, chosen in zip((True, False), held_out, which, strict=True):
            for rows in torch.split(_sorted_by_fold(group, chosen), TRIAL_BATCH):
                logits = _run(model, name, part, group.load(rows), group.folds[rows])
                for result, values in zip(results[start:], logits, strict=False):
                    (result.clean if is_clean else result.triggered)[rows] = values
    return results


def _sorted_by_fold(group: Group, which: Tensor) -> Tensor:
    rows = which.nonzero().flatten()
    return rows[group.folds[rows].argsort(stable=True)]


def _run(
    model: nn.Module,
    layer: str,
    repairs: Sequence[Sequence[Move]],
    inputs: Tensor,
    folds: Tensor,
) -> Tensor:
    """Return the logits, (repairs, n, classes), of inputs that are sorted by their fold.

    Args:
        model: the model.
        layer: its name.
        repairs: of each, what it does, one for each fold.
        inputs: (n, *input shape).
        folds: of each input, (n,) int64, ascending.
    """
    if len(inputs) == 0:
        return torch.empty(len(repairs), 0, 0)
    rows_of_folds = [(fold, folds == fold) for fold in sorted(set(folds.tolist()))]

    def move(feature: Tensor) -> Tensor:
        return torch.cat(
            [repair[fold](feature[rows]) for repair in repairs for fold, rows in rows_of_folds]
        )

    with edit_features(model, layer, move):
        logits = logits_of(model, inputs, copies=len(repairs))
    return logits.view(len(repairs), len(inputs), -1)


def _goes_on_alone(model: nn.Module, layer: str, group: Group) -> bool:
    """Whether what follows the layer runs on the layer's features alone, however many there are."""

    def unchanged(feature: Tensor) -> Tensor:
        return feature

    rows = torch.arange(min(2, len(group.folds)))
    inputs, expected = group.load(rows), group.logits[rows]
    folds = torch.zeros(len(inputs), dtype=torch.int64)
    try:
        copies = _run(model, layer, [[unchanged], [unchanged]], inputs, folds)
    except CalibrationError:  # As every failure of the model is reported.
        return False
    span = float(expected.max() - expected.min())
    return bool(((copies - expected).abs() <= CLOSE * span).all())
