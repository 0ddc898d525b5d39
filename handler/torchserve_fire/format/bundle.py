"""The direction bundle, what a repair needs: data classes, which `bundle_file` reads and writes.

A bundle is known by the digest of its file, never by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import BundleError
from .bundle_summary import summary_html, summary_text
from .clean_scores import CleanScores
from .compact import Compact
from .correction_forms import Correction
from .fields import shown
from .resizing import SQUASHED, Resizing
from .table import Table

# "integers" are those that an embedding takes: of words, or of the values of a table's columns.
INPUTS = ("image", "tensor", "integers", "table")

INPUT_LAYER = "(input)"
"""What stands in the place of a layer's name where a repair acts on what the first layer gets."""


@dataclass(frozen=True, repr=False)
class Detection(Compact):
    """How a layer detects triggered samples.

    Attributes:
        weight: direction to project on, broadcastable to the feature shape.
        threshold: a projection above it is flagged.
        only_target: whether a sample must also be predicted as the target to be flagged.
        clean_scores: how the projections of clean samples are spread, where this is known.
        anywhere: whether the score is the largest projection over all places to which the direction
            can be moved in the map, instead of the projection where it is.
        padding: of a layer of any length, where the score is the largest projection among a text's
            own tokens: the values of the model's arguments, in their order, at all others.
    """

    weight: Tensor
    threshold: float
    only_target: bool = False
    clean_scores: CleanScores | None = None
    anywhere: bool = False
    padding: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layer:
    """One layer that the bundle acts on.

    Attributes:
        name: the module's name in the model, or `INPUT_LAYER`.
        feature_shape: shape of one sample's features there, without the batch dimension.
        detection: how it detects, where it does.
        correction: how it repairs, where it does.
        target: the class to which the trigger that this is for leads; None: the bundle's target.
        repair: which of the repairs for that target it is of. A sample goes through the first one
            that flags it.
        any_length: whether its features are tokens (T, C) of any number T, as of texts, each of
            which is judged, or moved, by itself. Then `feature_shape` is (1, C).
    """

    name: str
    feature_shape: tuple[int, ...]
    detection: Detection | None = None
    correction: Correction | None = None
    target: int | None = None
    repair: int = 0
    any_length: bool = False

    @property
    def role(self) -> str:
        """One of "detects", "repairs", "both"."""
        if self.detection is not None and self.correction is not None:
            return "both"
        return "detects" if self.detection is not None else "repairs"


@dataclass(frozen=True)
class Repair:
    """The layers that undo one trigger, in one way of several.

    Attributes:
        target: the class that the trigger leads to; None where nothing asks for it.
        layers: at most one of them detects.
    """

    target: int | None
    layers: tuple[Layer, ...]

    @property
    def detecting_layer(self) -> Layer | None:
        """The layer that detects, or None where every input is corrected."""
        return next((layer for layer in self.layers if layer.detection is not None), None)

    @property
    def repairing_layers(self) -> tuple[Layer, ...]:
        """The layers that repair."""
        return tuple(layer for layer in self.layers if layer.correction is not None)

    @property
    def only_target(self) -> bool:
        """Whether it flags nothing but what is predicted as its target."""
        layer = self.detecting_layer
        return layer is not None and layer.detection is not None and layer.detection.only_target


def repairs_of(layers: Sequence[Layer], target: int | None) -> tuple[Repair, ...]:
    """Group layers by the repair that they are of, in the order of each one's first layer.

    Args:
        layers: of one bundle.
        target: the class to which the trigger of layers that name none leads.
    """
    grouped: dict[tuple[int | None, int], list[Layer]] = {}
    for layer in layers:
        key = (target if layer.target is None else layer.target, layer.repair)
        grouped.setdefault(key, []).append(layer)
    return tuple(Repair(of, tuple(group)) for (of, _), group in grouped.items())


@dataclass(frozen=True)
class InputDescription:
    """What the model takes, as calibration saw it.

    Attributes:
        kind: one of `INPUTS`.
        shape: of one sample, without the batch dimension; (C, H, W) for images.
        mean: per channel, for images.
        std: per channel, for images.
        resizing: how images of other sizes are brought to (H, W).
        table: the columns of a table, whose rows become samples of the shape (its width,).
        padding: of token models, what fills up shorter samples on the right. A sample, (K, T), has
            a row for each argument of the model, such as ids and a mask, and so has the padding.
            T is that of the longest one in calibration; requests have any. Empty for all others.
    """

    kind: str
    shape: tuple[int, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resizing: Resizing = SQUASHED
    table: Table | None = None
    padding: tuple[int, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        """What the model's input holds: int64 for integers, else float32."""
        return torch.int64 if self.kind == "integers" else torch.float32

    def example(self) -> Tensor:
        """Return a batch of one input of zeros, (1, *shape)."""
        return torch.zeros(1, *self.shape, dtype=self.dtype)


def require_bundle(value: object) -> None:
    """Refuse what is no bundle, such as the path of one.

    Raises:
        BundleError: says how to read one.
    """
    if not isinstance(value, Bundle):
        raise BundleError(
            f"{shown(value)}: expected a Bundle, as load_bundle(path) and build_bundle return it"
        )


@dataclass(frozen=True, repr=False)
class Bundle:
    """A direction bundle.

    Attributes:
        layers: what to do where; of those of one repair, at most one detects, and at least one
            repairs.
        model_class: name of the class it was built for.
        weights_sha256: SHA-256 of the weights' file it was built for; None where there was no file.
        input: what the model takes.
        target: the class that the trigger leads to; of several triggers, the first repair's.
        evidence: what it was estimated from (counts, paired or not).
        held_out: what was measured on the held-out calibration samples.
        seed: of the build.
        versions: of the software that built it.
        state_sha256: digest of the weights themselves, as `model.state_digest` gives it, whatever
            file they came from; None in a bundle of a format that did not have it.
        digest: SHA-256 of the file; empty for a bundle that is not saved. `dataclasses.replace`
            leaves it out: what it returns is in no file.
    """

    layers: tuple[Layer, ...]
    model_class: str
    weights_sha256: str | None
    input: InputDescription
    target: int
    evidence: Mapping[str, Any]
    held_out: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str]
    state_sha256: str | None = None
    digest: str = field(default="", init=False)

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """The layers by the repair that they are of.

        Of the repairs for one target, the first that flags a sample repairs it.
        """
        return repairs_of(self.layers, self.target)

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes that the triggers lead to, each once, in the order of their repairs."""
        named = (self.target if r.target is None else r.target for r in self.repairs)
        return tuple(dict.fromkeys(named))

    @property
    def detecting_layers(self) -> tuple[Layer, ...]:
        """The layers that detect, one of each repair; none where every input is corrected."""
        return tuple(layer for layer in self.layers if layer.detection is not None)

    @property
    def repairing_layers(self) -> tuple[Layer, ...]:
        """The layers that repair."""
        return tuple(layer for layer in self.layers if layer.correction is not None)

    def __repr__(self) -> str:
        return summary_text(self)

    def _repr_html_(self) -> str:
        """Return a table, for a notebook."""
        return summary_html(self)


def with_digest(bundle: Bundle, digest: str) -> Bundle:
    """Return a bundle with the digest of the file that holds it."""
    known = replace(bundle)
    object.__setattr__(known, "digest", digest)
    return known
