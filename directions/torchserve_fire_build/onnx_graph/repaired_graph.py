"""A model with a bundle's gate and repair as one function of its input, which can be traced.

It computes what the hooks of `attach` do, without looking at a value on the way: each pass is made,
and samples that are not flagged keep the output of the first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torchserve_fire.errors import AttachError
from torchserve_fire.format.bundle import Repair
from torchserve_fire.repair.layer_hook import LayerHook
from torchserve_fire.repair.layers import (
    device_of,
    feature_of,
    find_layer,
    in_precision_of,
    with_feature,
)
from torchserve_fire.repair.logits import find_logits
from torchserve_fire.repair.overlay import OverlayRemoval
from torchserve_fire.repair.ready_corrections import ready_corrections
from torchserve_fire.repair.verdict import judge, may_be_flagged, predicted_classes


class Repaired(NamedTuple):
    """What the graph answers.

    Attributes:
        logits: after repair, (N, classes) float32.
        flagged: which samples are flagged, (N,) bool; all of them where no layer detects.
        score: what each sample is judged by, (N,) float32; None where no layer detects.
        chosen: which samples take the second pass of each repair, (N,) bool; none where one pass
            does.
    """

    logits: Tensor
    flagged: Tensor
    score: Tensor | None
    chosen: tuple[Tensor, ...]


class RepairedGraph(nn.Module):
    """The model with its gate and its repair.

    Args:
        model: takes one tensor, (N, *S); in evaluation mode, without corrections. It stays as it
            is.
        repairs: of its bundle.
        passes: forward passes that a flagged sample costs, as `RepairHandle.passes` says.
    """

    def __init__(self, model: nn.Module, repairs: Sequence[Repair], passes: int) -> None:
        super().__init__()
        self.model = model
        self._attached = ready_corrections(repairs, "repair", device_of(model))
        self._passes = passes
        # By this, thresholds have names in the graph: `projections.0.threshold`.
        self.projections = nn.ModuleList(one.projection for one in self._attached.judges)

    @property
    def thresholds(self) -> list[Tensor]:
        """Those of the repairs, () float32 each; none where no layer detects."""
        return [one.projection.threshold for one in self._attached.judges]

    @property
    def repeats(self) -> int:
        """How many second passes there are, one for each repair; none where one pass does."""
        return len(self._attached.judges) if self._passes == 2 else 0

    @property
    def removals(self) -> Mapping[int, OverlayRemoval]:
        """What undoes overlays of the input, by the index of the repair; it is no part of this."""
        return {i: hook.removal for i, hook in self._attached.overlays.items()}

    def forward(self, inputs: Tensor, *without: Tensor) -> Repaired:
        """Return what the repaired model answers.

        Args:
            inputs: (N, *S) float32 or int64.
            without: for each of the `removals`, the inputs that it makes of those that are flagged.
        """
        attached, size = self._attached, inputs.shape[0]
        scores: dict[int, Tensor] = {}
        with self._hooked(scores, None):
            logits = self._logits(inputs)
        if not attached.judges:
            return Repaired(logits, torch.ones(size, dtype=torch.bool), None, ())
        classes = predicted_classes(attached.asking, logits, size)
        for i, hook in attached.overlays.items():
            if (found := hook.score((inputs,), {}, classes, size)) is not None:
                scores[i] = found
        every = [scores[i] for i in range(len(attached.judges))]
        score, flagged = judge(attached.judges, every, logits)
        whole = functools.reduce(torch.logical_or, flagged)
        if self._passes == 1:
            return Repaired(logits, whole, score, ())
        every_chosen = []
        moved = {
            i: hook.removal(inputs)
            for i, hook in attached.inputs.items()
            if i not in attached.overlays
        }
        second = moved | dict(zip(attached.overlays, without, strict=True))
        repaired = torch.zeros(size, dtype=torch.bool)
        # As `repeat_flagged`: a sample that is still predicted as the target goes on to the next.
        for i, (one, mask) in enumerate(zip(attached.judges, flagged, strict=True)):
            chosen = mask & ~repaired
            every_chosen.append(chosen)
            again = self._repeat(second.get(i, inputs), i)
            logits = torch.where(chosen[:, None], again, logits)
            done = chosen & ~may_be_flagged([one], logits, size)[0] if one.only_target else chosen
            repaired = repaired | done
        return Repaired(logits, whole, score, tuple(every_chosen))

    def _repeat(self, inputs: Tensor, repair: int) -> Tensor:
        with self._hooked({}, repair):
            return self._logits(inputs)

    def _logits(self, inputs: Tensor) -> Tensor:
        output = self.model(in_precision_of(self.model, inputs))
        return find_logits(output, inputs.shape[0]).float()

    @contextmanager
    def _hooked(self, scores: dict[int, Tensor], repeating: int | None) -> Iterator[None]:
        """Let the layers act in one pass.

        Args:
            scores: filled with those of each repair, by its index, in a first pass.
            repeating: the repair by which a second pass moves; None in the first.
        """
        removables = [
            find_layer(self.model, name).register_forward_hook(
                functools.partial(self._act, hook, scores, repeating)
            )
            for name, hook in self._attached.layers.items()
        ]
        try:
            yield
        finally:
            for removable in removables:
                removable.remove()

    def _act(
        self,
        hook: LayerHook,
        scores: dict[int, Tensor],
        repeating: int | None,
        module: nn.Module,
        args: Any,
        output: Any,
    ) -> Any:
        feature = feature_of(output)
        if feature is None:
            raise AttachError(f"{type(module).__name__}: the layer returns no tensor of features")
        if repeating is None:
            for repair, detection in hook.detections.items():
                scores[repair] = detection(feature)
        moved = self._moved(hook, feature, scores, repeating)
        return None if moved is None else with_feature(output, moved)

    def _moved(
        self,
        hook: LayerHook,
        feature: Tensor,
        scores: dict[int, Tensor],
        repeating: int | None,
    ) -> Tensor | None:
        """Return the features with those of flagged samples moved, None where none moves yet."""
        if repeating is not None:
            correction = hook.corrections.get(repeating)
            moved: Tensor | None = None if correction is None else correction(feature)
            return moved
        if not hook.corrections or self._passes != 1:
            return None
        ((repair, correction),) = hook.corrections.items()
        if not self._attached.judges:
            whole: Tensor = correction(feature)
            return whole
        flagged = self._attached.judges[repair].projection.flags(scores[repair])
        shape = (-1,) + (1,) * (feature.dim() - 1)
        return torch.where(flagged.view(shape), correction(feature), feature)
