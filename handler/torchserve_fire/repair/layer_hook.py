"""The hook of one layer: it scores the features there, and moves those of flagged samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RepairError
from ..format.bundle import Layer
from .corrections import Projection
from .layers import feature_of, with_feature
from .pass_state import Attached


class LayerHook:
    """A forward hook.

    Args:
        attached: what all hooks share.
        repair: index of the repair that the layer is of.
        layer: its name, and the shape of its features.
        detection: what it scores by, if it detects.
        correction: what it moves by, if it repairs.
    """

    def __init__(
        self,
        attached: Attached,
        repair: int,
        layer: Layer,
        detection: Projection | None,
        correction: nn.Module | None,
    ) -> None:
        self._attached = attached
        self._state = attached.state
        self._repair = repair
        self._name = layer.name
        self._shape = layer.feature_shape
        self._detection = detection
        self._correction = correction

    def run(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Score and move what a layer returned.

        Returns:
            The output with its features moved, or None where they stay.

        Raises:
            RepairError: the layer does not run once in a pass of the whole model, or its features
                are not what the bundle was built for.
        """
        state, i = self._state, self._repair
        if state.fired is None:
            raise RepairError(
                f"layer {self._name!r} was run outside a forward pass of the model that its "
                "corrections are attached to"
            )
        if (i, self._name) in state.fired:
            raise RepairError(
                f"layer {self._name!r} runs several times in one forward pass: choose one "
                "that runs once"
            )
        state.fired.append((i, self._name))
        feature = feature_of(output)
        if feature is None or tuple(feature.shape[1:]) != self._shape:
            found = "no tensor" if feature is None else str(tuple(feature.shape[1:]))
            raise RepairError(
                f"layer {self._name!r}: features of shape {found}, expected {self._shape}"
            )
        if self._detection is not None and state.repeating is None:
            state.scores[i] = self._detection(feature.detach())
        if self._correction is None:
            return None
        moved = self._correct(feature, self._correction)
        return None if moved is None else with_feature(output, moved)

    def _correct(self, feature: Tensor, correction: nn.Module) -> Tensor | None:
        """Return the features with those of flagged samples moved, None where none moves yet."""
        state, attached = self._state, self._attached
        if not attached.judges or state.repeating == self._repair:
            return self._move(feature, correction)
        if attached.passes != 1:
            return None
        scores = state.scores.get(self._repair)
        if scores is None or len(scores) != len(feature):
            raise RepairError(
                f"layer {self._name!r}: there is not one score per sample to repair by: the "
                "detecting layer did not run before it, or one of the two has several features "
                "per sample"
            )
        projection = attached.judges[self._repair].projection
        if not state.forced and projection.surely_flags_none(scores):
            return None
        flagged = projection.flags(scores) | state.forced
        mask = flagged.view((-1,) + (1,) * (feature.dim() - 1))
        return torch.where(mask, self._move(feature, correction), feature)

    def _move(self, feature: Tensor, correction: nn.Module) -> Tensor:
        moved: Tensor = correction(feature)
        if (
            self._state.forced
            and bool(feature.isfinite().all())
            and not bool(moved.isfinite().all())
        ):
            raise RepairError(
                f"layer {self._name!r}: the correction leaves the range of {feature.dtype}"
            )
        return moved
