"""Running the held-out samples through candidate repairs of one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Layer
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.corrections import build_correction
from torchserve_fire.repair.layers import device_of

from ..common.errors import CalibrationError
from ..common.hooks import edit_features, record_features
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
    features: Both[Tensor] | None = None,
) -> list[Both[Tensor]]:
    """Run held-out samples with each repair, on every one of them.

    What comes before the layer is run once for all repairs, or not at all where the features are
    known: behind it, the batch goes on once for each repair. Where the model does not allow of
    that (it brings something past the layer), each repair is run by itself.

    Args:
        model: in evaluation mode.
        held_out: the samples.
        repairs: all of the same layer; of each, for every fold, what was estimated without it.
        which: the clean (N,) and the triggered samples (M,) to run, bool; the others keep their
            logits.
        features: the layer's, of the clean (n, *S) and triggered samples (m, *S) in `which`; None
            to compute them.

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
    results = [held_out.map(lambda group: group.logits.clone()) for _ in repairs]
    run = _Run(model, name, example)
    alone = run.goes_on_alone(held_out.triggered)
    together = len(repairs) if alone else 1
    known: Both[Tensor | None] = Both(None, None)
    if features is not None and alone and run.goes_on_from_one(held_out.triggered):
        known = Both(features.clean, features.triggered)
    for start in range(0, len(repairs), together):
        part = moves[start : start + together]
        for is_clean, group, chosen, feature in zip(
            (True, False), held_out, which, known, strict=True
        ):
            rows = chosen.nonzero().flatten()
            if len(rows) == 0:
                continue
            for places in torch.split(group.folds[rows].argsort(stable=True), TRIAL_BATCH):
                batch, folds = rows[places], group.folds[rows[places]]
                logits = (
                    run.on_inputs(part, group.load(batch), folds)
                    if feature is None
                    else run.on_features(part, feature[places], folds)
                )
                for result, values in zip(results[start:], logits, strict=False):
                    (result.clean if is_clean else result.triggered)[batch] = values
    return results


@dataclass(frozen=True)
class _Run:
    """Runs of a model in which the features of a layer go on once for each of several repairs.

    Attributes:
        model: in evaluation mode.
        layer: its name.
        example: one input, (1, *input shape).
    """

    model: nn.Module
    layer: str
    example: Tensor

    def on_inputs(self, repairs: Sequence[Sequence[Move]], inputs: Tensor, folds: Tensor) -> Tensor:
        """Return the logits, (repairs, n, classes), of inputs that are sorted by their fold.

        Args:
            repairs: of each, what it does, one for each fold.
            inputs: (n, *input shape).
            folds: of each input, (n,) int64, ascending.
        """
        with edit_features(self.model, self.layer, partial(_moved, repairs, folds)):
            logits = logits_of(self.model, inputs, copies=len(repairs))
        return logits.view(len(repairs), len(inputs), -1)

    def on_features(
        self, repairs: Sequence[Sequence[Move]], features: Tensor, folds: Tensor
    ) -> Tensor:
        """Return the same of features (n, *S); what comes before the layer runs on one input."""
        moved = _moved(repairs, folds, features)
        with edit_features(self.model, self.layer, lambda _: moved):
            logits = logits_of(self.model, self.example, copies=len(moved))
        return logits.view(len(repairs), len(features), -1)

    def goes_on_alone(self, group: Group) -> bool:
        """Whether what follows runs on the layer's features alone, however many there are."""
        return self._stays(group, lambda inputs, folds: self.on_inputs(TWICE, inputs, folds))

    def goes_on_from_one(self, group: Group) -> bool:
        """Whether it does so, too, where only one input has come as far as the layer."""

        def run(inputs: Tensor, folds: Tensor) -> Tensor:
            features: list[Tensor] = []
            with record_features(self.model, [self.layer], lambda _, f: features.append(f.clone())):
                logits_of(self.model, inputs)
            return self.on_features(TWICE, features[0], folds)

        return self._stays(group, run)

    def _stays(self, group: Group, run: Callable[[Tensor, Tensor], Tensor]) -> bool:
        """Whether two samples, twice each and not moved, keep their logits."""
        rows = torch.arange(min(2, len(group.folds)))
        inputs, expected = group.load(rows), group.logits[rows]
        try:
            copies = run(inputs, torch.zeros(len(inputs), dtype=torch.int64))
        except CalibrationError:  # As every failure of the model is reported.
            return False
        span = float(expected.max() - expected.min())
        return bool(((copies - expected).abs() <= CLOSE * span).all())


def _moved(repairs: Sequence[Sequence[Move]], folds: Tensor, features: Tensor) -> Tensor:
    """Return features, sorted by their fold, as each repair leaves them, (repairs * n, *S)."""
    rows_of_folds = [(fold, folds == fold) for fold in sorted(set(folds.tolist()))]
    return torch.cat(
        [repair[fold](features[rows]) for repair in repairs for fold, rows in rows_of_folds]
    )


def _unmoved(features: Tensor) -> Tensor:
    return features


TWICE = [[_unmoved], [_unmoved]]
"""Two repairs that change nothing."""
