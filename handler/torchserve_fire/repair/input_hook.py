"""What acts on the model's input in the place of a layer: it moves it back, and may score it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RepairError
from ..format.bundle import Detection
from ..format.correction_forms import Overlay
from .overlay import MovingProjection, OverlayRemoval
from .tracing import is_traced


class InputHook:
    """Moves the model's input of flagged samples back.

    Args:
        shape: of one sample's input, (C, H, W).
        removal: moves inputs (N, C, H, W) back.
    """

    def __init__(self, shape: tuple[int, ...], removal: nn.Module) -> None:
        self._shape = shape
        self.removal = removal

    def to(self, device: torch.device) -> None:
        """Move its tensors to a device."""
        self.removal.to(device)

    def move(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with the input moved back.

        Raises:
            RepairError: no argument is a batch of such inputs.
        """
        key, inputs = self._find(args, kwargs)
        moved = self.removal(inputs)
        if isinstance(key, str):
            return args, kwargs | {key: moved}
        return (*args[:key], moved, *args[key + 1 :]), kwargs

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int | str, Tensor]:
        """Return the first argument that is a batch of inputs: its position or name, and it."""
        named: Iterable[tuple[int | str, Any]] = itertools.chain(enumerate(args), kwargs.items())
        for key, value in named:
            if (
                isinstance(value, Tensor)
                and value.is_floating_point()
                and value.shape[1:] == self._shape
            ):
                return key, value
        raise RepairError(
            f"the model's input holds no tensor (N, {', '.join(map(str, self._shape))}), which "
            "the bundle repairs"
        )


class OverlayHook(InputHook):
    """Scores the model's input, too, and undoes an overlay in that of flagged samples.

    Args:
        shape: of one sample's input, (C, H, W).
        target: the class that a sample must be predicted as to be flagged; None for any.
        detection: how it is scored.
        overlay: what is undone.

    Attributes:
        base: the score without a trigger.
    """

    removal: OverlayRemoval

    def __init__(
        self, shape: tuple[int, ...], target: int | None, detection: Detection, overlay: Overlay
    ) -> None:
        weight = detection.weight.expand(shape).contiguous()
        super().__init__(shape, OverlayRemoval(replace(detection, weight=weight), overlay))
        self._target = target
        self.base = overlay.base

    @property
    def projection(self) -> MovingProjection:
        """What scores the input."""
        return self.removal.projection

    def score(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], classes: Tensor | None, size: int
    ) -> Tensor | None:
        """Score the samples that may be flagged; scoring all would slow every request down.

        Args:
            args: what the model was called with.
            kwargs: what the model was called with, by name.
            classes: what the samples are predicted as, (N,) int64; None where no hook asks for it.
            size: N.

        Returns:
            (N,) float32; of the other samples, `base`. None where surely none may be flagged.

        Raises:
            RepairError: no argument is a batch of such inputs, or not of as many.
        """
        inputs = self._find(args, kwargs)[1]
        if inputs.shape[0] != size:
            raise RepairError(
                f"the model's input holds {inputs.shape[0]} samples to score, expected {size}"
            )
        if classes is None or self._target is None:
            return self._project(inputs)
        if is_traced() or not inputs.is_cpu:
            # To pick the samples, the pass would have to wait for them; to score all costs less.
            may = classes.to(inputs.device).eq(self._target)
            return torch.where(may, self._project(inputs), self.base)
        rows = [i for i, label in enumerate(classes.tolist()) if label == self._target]
        if not rows:
            return None
        if len(rows) == size:
            return self._project(inputs)
        scores = torch.full((size,), self.base, dtype=torch.float32)
        scores[rows] = self._project(inputs[rows])
        return scores

    def _project(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.projection(inputs.detach())
        return scores
