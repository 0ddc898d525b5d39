"""The forms of a correction: how a layer moves samples back. Each reads and stores itself.

The formulas stand in `repair.corrections`, at the modules that compute them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..errors import BundleError
from .compact import Compact
from .fields import Fields
from .layer_tensors import LayerTensors

Stored = tuple[Mapping[str, Any], dict[str, Tensor]]
"""The fields of a correction beside its form, and its tensors by part of the layer."""


@dataclass(frozen=True, repr=False)
class Shift(Compact):
    """A mean shift: every sample is moved back by the same.

    Attributes:
        direction: the mean of triggered minus clean features, broadcastable to the feature shape.
        strength: how far to move; 1 is the whole way.
    """

    form: ClassVar[str] = "shift"
    direction: Tensor
    strength: float

    @classmethod
    def read(cls, fields: Fields, tensors: LayerTensors, part: str) -> Shift:
        """Read it from the fields and tensors of a layer's correction.

        Args:
            fields: the correction's.
            tensors: the layer's.
            part: the name of the direction's tensor.

        Raises:
            BundleError: something is missing, or is not as it should be.
        """
        return cls(tensors.direction(part), _read_strength(fields))

    def stored(self) -> Stored:
        """Return the fields and tensors that `read` takes."""
        return {"strength": float(self.strength)}, {"correction": self.direction}


@dataclass(frozen=True, repr=False)
class Affine(Compact):
    """A shift that depends on the channels of each place of a map or of tokens.

    Attributes:
        direction: the part of the shift that depends on nothing, broadcastable to the feature
            shape.
        strength: share of the shift to take back; 1 is all of it.
        slope: how triggered minus clean channels depend on the triggered ones, (C, C).
    """

    form: ClassVar[str] = "affine"
    direction: Tensor
    strength: float
    slope: Tensor

    @classmethod
    def read(cls, fields: Fields, tensors: LayerTensors, part: str) -> Affine:
        """Read it, as `Shift.read` does."""
        direction, strength = tensors.direction(part), _read_strength(fields)
        return cls(direction, strength, tensors.channel_matrix("slope", cls.form))

    def stored(self) -> Stored:
        """Return the fields and tensors that `read` takes."""
        tensors = {"correction": self.direction, "slope": self.slope}
        return {"strength": float(self.strength)}, tensors


@dataclass(frozen=True, repr=False)
class Clamp(Compact):
    """A one-sided clamp: samples that project too far along the direction are moved back.

    Attributes:
        direction: the mean of triggered minus clean features, broadcastable to the feature shape.
        strength: share of the way to the anchor; 1 is the whole way.
        threshold: the upper end of the clean range of the projection.
        anchor: the clean median of the projection.
    """

    form: ClassVar[str] = "clamp"
    direction: Tensor
    strength: float
    threshold: float
    anchor: float

    @classmethod
    def read(cls, fields: Fields, tensors: LayerTensors, part: str) -> Clamp:
        """Read it, as `Shift.read` does."""
        direction, strength = tensors.direction(part), _read_strength(fields)
        return cls(direction, strength, fields.number("threshold"), fields.number("anchor"))

    def stored(self) -> Stored:
        """Return the fields and tensors that `read` takes."""
        fields = {
            "strength": float(self.strength),
            "threshold": float(self.threshold),
            "anchor": float(self.anchor),
        }
        return fields, {"correction": self.direction}


@dataclass(frozen=True, repr=False)
class Local(Compact):
    """A replacement of those places of a map or of tokens that project beyond the clean range.

    Attributes:
        direction: what the channels of each place are projected on, (C, 1, 1) or (1, D).
        strength: share of the way to the replacement; 1 is the whole way.
        threshold: the upper end of the clean range of the projection.
        replacement: the mean clean channels, (C, 1, 1) or (1, D), for where nothing else is near.
    """

    form: ClassVar[str] = "local"
    direction: Tensor
    strength: float
    threshold: float
    replacement: Tensor

    @classmethod
    def read(cls, fields: Fields, tensors: LayerTensors, part: str) -> Local:
        """Read it, as `Shift.read` does."""
        direction = tensors.check_per_channel(part, tensors.direction(part), cls.form)
        strength, threshold = _read_strength(fields), fields.number("threshold")
        replacement = tensors.like_features("replacement")
        tensors.check_per_channel("replacement", replacement, cls.form)
        return cls(direction, strength, threshold, replacement)

    def stored(self) -> Stored:
        """Return the fields and tensors that `read` takes."""
        fields = {"strength": float(self.strength), "threshold": float(self.threshold)}
        return fields, {"correction": self.direction, "replacement": self.replacement}


@dataclass(frozen=True, repr=False)
class Overlay(Compact):
    """What a trigger does to the model's input, undone wherever and as strongly as it is found.

    At each place and channel of a map (C, H, W): triggered = clean + slope * clean + direction, cut
    off at the ends of the range. A patch has a slope of -1 where it covers the clean input, an
    image that is blended in has less, and a pattern that is added has 0.

    Attributes:
        direction: what is added whatever the clean input is, (C, H, W).
        strength: share of the change that is taken back; 1 is all of it.
        slope: (C, H, W).
        gauges: for each channel, what an input is projected on to measure how strong the trigger is
            in that channel, (C, C, H, W); 1 is as strong as in the calibration samples.
        bases: the projections of clean inputs on the gauges.
        base: the score of clean inputs, by which the layer detects.
        lower: the least value of inputs, (C, 1, 1).
        upper: the greatest value of inputs, (C, 1, 1).
    """

    form: ClassVar[str] = "overlay"
    direction: Tensor
    strength: float
    slope: Tensor
    gauges: Tensor
    bases: tuple[float, ...]
    base: float
    lower: Tensor
    upper: Tensor

    @classmethod
    def read(cls, fields: Fields, tensors: LayerTensors, part: str) -> Overlay:
        """Read it, as `Shift.read` does."""
        direction, strength = tensors.map(part, cls.form), _read_strength(fields)
        slope, gauges = tensors.map("slope", cls.form), tensors.maps("gauges", cls.form)
        bases = tuple(fields.numbers("bases"))
        if len(bases) != len(gauges):
            raise BundleError(f"{fields.where('bases')}: {len(bases)}, expected {len(gauges)}")
        lower, upper = (
            tensors.check_per_channel(name, tensors.like_features(name), cls.form)
            for name in ("lower", "upper")
        )
        base = fields.number("base")
        return cls(direction, strength, slope, gauges, bases, base, lower, upper)

    def stored(self) -> Stored:
        """Return the fields and tensors that `read` takes."""
        fields = {
            "strength": float(self.strength),
            "bases": [float(value) for value in self.bases],
            "base": float(self.base),
        }
        tensors = {
            "correction": self.direction,
            "slope": self.slope,
            "gauges": self.gauges,
            "lower": self.lower,
            "upper": self.upper,
        }
        return fields, tensors


@dataclass(frozen=True, repr=False)
class Warp(Compact):
    """Where a trigger moves the values of the model's input to, undone: a turn, a flip, a warp.

    Attributes:
        moves: for each place of the clean input, how many places further down, and how many further
            to the right, its value is in the triggered one, (2, H, W).
        strength: share of the way that values are moved back; 1 is all of it.
    """

    form: ClassVar[str] = "warp"
    moves: Tensor
    strength: float

    @classmethod
    def read(cls, fields: Fields, tensors: LayerTensors, part: str) -> Warp:
        """Read it, as `Shift.read` does."""
        return cls(tensors.moves(part, cls.form), _read_strength(fields))

    def stored(self) -> Stored:
        """Return the fields and tensors that `read` takes."""
        return {"strength": float(self.strength)}, {"correction": self.moves}


Correction = Shift | Affine | Clamp | Local | Overlay | Warp

FORMS: Mapping[
    str, type[Shift] | type[Affine] | type[Clamp] | type[Local] | type[Overlay] | type[Warp]
] = {form.form: form for form in (Shift, Affine, Clamp, Local, Warp, Overlay)}

INPUT_FORMS = (Overlay, Warp)
"""Those that act on the model's input; all others act in layers."""

FIRST_FORMS = (Shift.form, Affine.form, Clamp.form, Local.form)
"""Those that the versions 1 to 3 of a bundle's file know."""


def _read_strength(fields: Fields) -> float:
    strength = fields.number("strength")
    if strength <= 0:
        raise BundleError(f"{fields.where('strength')}: {strength}, expected above 0")
    return strength
