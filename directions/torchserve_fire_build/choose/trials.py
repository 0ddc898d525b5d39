"""Running the held-out samples through candidate repairs of one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Layer
from torchserve_fire.repair.attach import attach
from torchserve_fire.repair.corrections import build_correction
from torchserve_fire.repair.layers import feature_of, find_layer, with_feature

from ..common.errors import CalibrationError
from ..samples.predict import device_of, logits_of
from .held_out import Group, HeldOut

BATCH = 64
CLOSE = 1e-3
"""Share of the logits' range by which rounding may move them, in batches of other sizes."""

Correction = Callable[[Tensor], Tensor]


def run_repairs(
    model: nn.Module,
    held_out: HeldOut,
    repairs: Sequence[Sequence[Layer]],
    *,
    clean: Tensor,
    triggered: Tensor,
) -> list[tuple[Tensor, Tensor]]:
    """Run held-out samples with each repair, on every one of them.

    What comes before the layer is run once for all repairs: behind it, the batch goes on once for
    each. Where the model does not allow of that (it brings something past the layer), each repair
    is run by itself.

    Args:
        model: in evaluation mode.
        held_out: the samples.
        repairs: all of the same layer; of each, for every fold, what was estimated without it.
        clean: which clean samples to run, (N,) bool; the others keep their logits.
        triggered: which triggered samples to run, (M,) bool.

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
    groups = (held_out.clean, clean), (held_out.triggered, triggered)
    # Proves that the layer can be repaired at.
    with attach(model, [repairs[0][0]], held_out.triggered.inputs[:1].to(device)):
        pass
    corrections = [
        [
            build_correction(of_fold.correction).to(device)
            for of_fold in repair
            if of_fold.correction
        ]
        for repair in repairs
    ]
    together = len(repairs) if _goes_on_alone(model, name, held_out.triggered) else 1
    results = [tuple(group.logits.clone() for group, _ in groups) for _ in repairs]
    for start in range(0, len(repairs), together):
        part = corrections[start : start + together]
        for g, (group, which) in enumerate(groups):
            sorted_rows = _sorted_by_fold(group, which)
            for first in range(0, len(sorted_rows), BATCH):
                rows = sorted_rows[first : first + BATCH]
                logits = _run(model, name, part, group.inputs[rows], group.folds[rows])
                for result, values in zip(results[start:], logits, strict=False):
                    result[g][rows] = values
    return [(first, second) for first, second in results]


def _sorted_by_fold(group: Group, which: Tensor) -> Tensor:
    rows = which.nonzero().flatten()
    return rows[group.folds[rows].argsort(stable=True)]


def _run(
    model: nn.Module,
    name: str,
    corrections: Sequence[Sequence[Correction]],
    inputs: Tensor,
    folds: Tensor,
) -> Tensor:
    """Return the logits, (repairs, n, classes), of inputs that are sorted by their fold.

    Args:
        model: the model.
        name: of the layer.
        corrections: of each repair, one for each fold.
        inputs: (n, *input shape).
        folds: of each input, (n,) int64, ascending.
    """
    rows_of_folds = [(fold, folds == fold) for fold in sorted(set(folds.tolist()))]

    def correct(module: nn.Module, args: Any, output: Any) -> Any:
        feature = feature_of(output)
        if feature is None:
            return None
        moved = [
            repair[fold](feature[rows]) for repair in corrections for fold, rows in rows_of_folds
        ]
        return with_feature(output, torch.cat(moved))

    handle = find_layer(model, name).register_forward_hook(correct)
    try:
        logits = logits_of(model, inputs, copies=len(corrections))
    finally:
        handle.remove()
    return logits.view(len(corrections), len(inputs), -1)


def _goes_on_alone(model: nn.Module, name: str, group: Group) -> bool:
    """Whether what follows the layer runs on the layer's features alone, however many there are."""

    def unchanged(feature: Tensor) -> Tensor:
        return feature

    inputs, expected = group.inputs[:2], group.logits[:2]
    folds = torch.zeros(len(inputs), dtype=torch.int64)
    try:
        copies = _run(model, name, [[unchanged], [unchanged]], inputs, folds)
    except CalibrationError:  # As every failure of the model is reported.
        return False
    span = float(expected.max() - expected.min())
    return bool(((copies - expected).abs() <= CLOSE * span).all())
