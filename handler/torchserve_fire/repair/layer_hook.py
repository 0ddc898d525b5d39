"""The hook of one layer: it scores the features there, and moves those of flagged samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RepairError
from .corrections import Projection, TokenProjection
from .layers import feature_of, with_feature
from .pass_state import Attached


class LayerHook:
    """A forward hook.

    Args:
        attached: what all hooks share.
        name: the layer's.
        shape: of one sample's features there.
        any_length: whether these are tokens (T, C) of any number, of which (1, C) says one's shape.
            What fills up shorter samples is moved, too: the model itself looks at none of it.

    Attributes:
        shape: as given.
        any_length: as given.
        detections: what the repairs that detect there score by, by their indices.
        corrections: what the repairs that move features there move by, by their indices.
    """

    def __init__(
        self, attached: Attached, name: str, shape: tuple[int, ...], *, any_length: bool = False
    ) -> None:
        self._attached = attached
        self._state = attached.state
        self._name = name
        self.shape = shape
        self.any_length = any_length
        self.detections: dict[int, Projection] = {}
        self.corrections: dict[int, nn.Module] = {}

    def run(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Score and move what a layer returned.

        Returns:
            The output with its features moved, or None where they stay.

        Raises:
            RepairError: the layer does not run once in a pass of the whole model, or its features
                are not what the bundle was built for.
        """
        state = self._state
        fired = state.fired
        if fired is None:
            raise RepairError(
                f"layer {self._name!r} was run outside a forward pass of the model that its "
                "corrections are attached to"
            )
        if self._name in fired:
            raise RepairError(
                f"layer {self._name!r} runs several times in one forward pass: choose one "
                "that runs once"
            )
        fired.append(self._name)
        feature = feature_of(output)
        if feature is None or not self._fits(feature):
            found = "no tensor" if feature is None else str(tuple(feature.shape[1:]))
            expected = f"(any number, {self.shape[1]})" if self.any_length else self.shape
            raise RepairError(
                f"layer {self._name!r}: features of shape {found}, expected {expected}"
            )
        if self.detections and state.repeating is None:
            scored = feature.detach() if feature.requires_grad else feature
            for repair, detection in self.detections.items():
                state.scores[repair] = self._score(scored, detection)
        moved = self._correct(feature) if self.corrections else None
        return None if moved is None else with_feature(output, moved)

    def _score(self, feature: Tensor, detection: Projection) -> Tensor:
        if not isinstance(detection, TokenProjection):
            scores: Tensor = detection(feature)
            return scores
        own = self._state.own
        if own is None or own.shape != feature.shape[:2]:
            found = "none" if own is None else str(tuple(own.shape))
            raise RepairError(
                f"layer {self._name!r}: {tuple(feature.shape[:2])} tokens, and the model's inputs "
                f"tell of {found} which are padding"
            )
        return detection.among(feature, own.to(feature.device))

    def _fits(self, feature: Tensor) -> bool:
        if self.any_length:
            return feature.dim() == 3 and feature.shape[2:] == self.shape[1:]
        return feature.shape[1:] == self.shape

    def _correct(self, feature: Tensor) -> Tensor | None:
        """Return the features with those of flagged samples moved, None where none moves yet."""
        state, attached = self._state, self._attached
        if state.repeating is not None:
            correction = self.corrections.get(state.repeating)
            return None if correction is None else self._move(feature, correction)
        if attached.judges and attached.passes != 1:
            return None
        # A single repair needs no second pass.
        ((repair, correction),) = self.corrections.items()
        if not attached.judges:
            return self._move(feature, correction)
        scores = state.scores.get(repair)
        if scores is None or len(scores) != len(feature):
            raise RepairError(
                f"layer {self._name!r}: there is not one score per sample to repair by: the "
                "detecting layer did not run before it, or one of the two has several features "
                "per sample"
            )
        projection = attached.judges[repair].projection
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
