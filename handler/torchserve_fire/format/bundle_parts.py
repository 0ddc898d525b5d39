"""What the readers of all versions of a bundle's file share: its parts, and their checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import BundleError
from .bundle import INPUT_LAYER, Bundle, Detection, InputDescription, Layer, repairs_of
from .clean_scores import BINS, CleanScores
from .correction_forms import FORMS, INPUT_FORMS, Clamp, Correction, Overlay, Warp
from .fields import Fields, shown
from .layer_tensors import LayerTensors
from .resizing import read_resizing
from .table import read_table
from .tensor_digest import tensor_sha256

STORED_DTYPES = (torch.float32, torch.float16)

ROLES = {role: role for role in ("detects", "repairs", "both")}
"""The roles of a layer, by what versions from 3 on call them."""

LayerReader = Callable[[Fields, LayerTensors], tuple[Detection | None, Correction | None]]
"""Reads what a layer does from its fields and its tensors."""


def read_bundle(
    root: Fields,
    layers: tuple[Layer, ...],
    source: str,
    *,
    weights_sha256: str | None,
    state_sha256: str | None,
    inputs: Sequence[str],
    evidence: Mapping[str, Any],
    newest: bool = False,
) -> Bundle:
    """Read the fields that all versions have alike, and refuse those that are left over.

    Args:
        root: the metadata.
        layers: read before.
        source: the file's name, for messages.
        weights_sha256: read before.
        state_sha256: read before.
        inputs: the kinds of input that the version knows.
        evidence: read before.
        newest: whether the version can say that images are not squashed to the input's size, and
            what samples are padded with.

    Raises:
        BundleError: a field is missing, unknown, or has a wrong value; or the layers do not fit
            each other or the target.
    """
    target = root.integer("target", minimum=0)
    _check_layers(layers, target, source)
    bundle = Bundle(
        layers=layers,
        model_class=root.text("model_class"),
        weights_sha256=weights_sha256,
        state_sha256=state_sha256,
        input=_read_input(root.fields("input"), inputs, newest=newest),
        target=target,
        evidence=evidence,
        held_out=root.mapping("held_out"),
        seed=root.integer("seed"),
        versions=root.texts("versions"),
    )
    root.finish()
    for layer in layers:
        if layer.name == INPUT_LAYER and layer.feature_shape != bundle.input.shape:
            raise BundleError(
                f"{source}: layers: {INPUT_LAYER!r} has the shape {shown(layer.feature_shape)}, "
                f"expected that of the input, {shown(bundle.input.shape)}"
            )
    return bundle


def read_layers(
    root: Fields,
    tensors: Mapping[str, Tensor],
    source: str,
    roles: Mapping[str, str],
    read_parts: LayerReader,
    *,
    newest: bool = False,
) -> tuple[Layer, ...]:
    """Read the layers, and refuse tensors that are damaged or that no layer uses.

    Args:
        root: the metadata.
        tensors: of the file, by name.
        source: the file's name, for messages.
        roles: what the version calls each role that a `Layer` has.
        read_parts: how the version says what a layer does.
        newest: whether the version says which of the repairs for its target a layer is of, and
            may say that its features have any length.

    Raises:
        BundleError: a field or tensor is missing, unknown, or not as it should be.
    """
    _check_tensors(root.fields("tensors"), tensors, source)
    rest = dict(tensors)
    layers = tuple(
        _read_layer(fields, i, rest, roles, read_parts, newest=newest)
        for i, fields in enumerate(root.list_of_fields("layers"))
    )
    if rest:
        raise BundleError(f"{source}: tensor {shown(next(iter(rest)))}: no layer uses it")
    return layers


def read_correction(fields: Fields, tensors: LayerTensors, part: str, form: str) -> Correction:
    """Read a correction whose form was read before, and refuse fields that are left over.

    Args:
        fields: the correction's.
        tensors: the layer's.
        part: the name of the direction's tensor.
        form: one of `FORMS`.

    Raises:
        BundleError: a field or tensor is missing, unknown, or not as it should be.
    """
    correction = FORMS[form].read(fields, tensors, part)
    fields.finish()
    return correction


def read_weights(root: Fields, source: str) -> tuple[str | None, str | None]:
    """Read the digests of the weights: of their file, and of the tensors themselves.

    Raises:
        BundleError: a field is missing, unknown, or has a wrong value, or both digests are null.
    """
    weights = root.fields("weights")
    weights_sha256 = weights.optional_sha256("file_sha256")
    state_sha256 = weights.optional_sha256("state_sha256")
    weights.finish()
    if weights_sha256 is None and state_sha256 is None:
        raise BundleError(
            f"{source}: weights: neither file_sha256 nor state_sha256 is given, expected at least "
            "one: a bundle is for the weights that it was built for"
        )
    return weights_sha256, state_sha256


def read_correction_part(
    fields: Fields, tensors: LayerTensors, forms: Sequence[str]
) -> Correction | None:
    """Read a layer's correction; None where it is null.

    Args:
        fields: the layer's.
        tensors: the layer's.
        forms: that the version knows.

    Raises:
        BundleError: a field or tensor is missing, unknown, or not as it should be.
    """
    if (part := fields.optional_fields("correction")) is None:
        return None
    return read_correction(part, tensors, "correction", part.choice("form", forms))


def read_detection_part(
    fields: Fields,
    tensors: LayerTensors,
    read_anywhere: Callable[[Fields], bool],
    *,
    newest: bool = False,
) -> Detection | None:
    """Read how a layer detects; None where it is null.

    Args:
        fields: the layer's.
        tensors: the layer's.
        read_anywhere: reads from the part whether it detects anywhere, as far as the version says.
        newest: whether the version can say by what padding is known.

    Raises:
        BundleError: a field or tensor is missing, unknown, or not as it should be.
    """
    if (part := fields.optional_fields("detection")) is None:
        return None
    detection = Detection(
        tensors.direction("detection"),
        part.number("threshold"),
        part.boolean("only_target"),
        read_clean_scores(part.optional_fields("clean_scores")),
        read_anywhere(part),
        part.integers("padding") if newest and part.has("padding") else (),
    )
    part.finish()
    return detection


def read_clean_scores(fields: Fields | None) -> CleanScores | None:
    """Read the spread of the clean samples' scores; None where nothing is said of it.

    Raises:
        BundleError: a field is missing, unknown, or has a wrong value.
    """
    if fields is None:
        return None
    scores = CleanScores(fields.integer("count", minimum=1), tuple(fields.numbers("deciles")))
    if len(scores.deciles) != BINS - 1 or list(scores.deciles) != sorted(scores.deciles):
        raise BundleError(
            f"{fields.where('deciles')}: {shown(list(scores.deciles))}, expected {BINS - 1} "
            "ascending numbers"
        )
    fields.finish()
    return scores


def _read_layer(
    fields: Fields,
    index: int,
    tensors: dict[str, Tensor],
    roles: Mapping[str, str],
    read_parts: LayerReader,
    *,
    newest: bool,
) -> Layer:
    shape = fields.sizes("feature_shape")
    detection, correction = read_parts(fields, LayerTensors(fields, index, shape, tensors))
    target = fields.optional_integer("target", minimum=0)
    repair = fields.integer("repair", minimum=0) if newest else 0
    any_length = newest and fields.has("any_length") and fields.boolean("any_length")
    layer = Layer(fields.text("name"), shape, detection, correction, target, repair, any_length)
    role = fields.choice("role", list(roles.values()))
    if (detection is None and correction is None) or role != roles[layer.role]:
        raise BundleError(
            f"{fields.where('role')}: {role!r}, expected it to say which of detecting and repairing"
            " the layer has"
        )
    _check_place(layer, fields)
    fields.finish()
    return layer


def _check_place(layer: Layer, fields: Fields) -> None:
    """Refuse what can only be done to the model's input elsewhere, and all else there."""
    detection, correction = layer.detection, layer.correction
    if detection is not None and detection.anywhere and detection.weight.dim() != 3:
        raise BundleError(
            f"{fields.where('detection')}: anywhere: expected a map (C, H, W), found features of "
            f"shape {shown(layer.feature_shape)}"
        )
    if detection is None:
        acts_on_input = isinstance(correction, Warp)
    else:
        acts_on_input = detection.anywhere and isinstance(correction, Overlay)
    if layer.name == INPUT_LAYER and not acts_on_input:
        raise BundleError(
            f"{fields.where('name')}: {INPUT_LAYER!r}, expected it to detect anywhere and to "
            f"repair by form {Overlay.form!r}, or to repair by form {Warp.form!r} alone"
        )
    if layer.name != INPUT_LAYER and isinstance(correction, INPUT_FORMS):
        raise BundleError(
            f"{fields.where('correction')}: form {correction.form!r}, expected it at "
            f"{INPUT_LAYER!r}"
        )
    by_token = len(layer.feature_shape) == 2 and layer.feature_shape[0] == 1
    moves = not isinstance(correction, Clamp) and (detection is None or bool(detection.padding))
    if layer.any_length and not (by_token and moves):
        raise BundleError(
            f"{fields.where('any_length')}: true, expected features of shape (1, C), and that each "
            f"token is judged and corrected by itself: padding of a detection, no {Clamp.form!r}"
        )
    if detection is not None and detection.padding and not layer.any_length:
        raise BundleError(
            f"{fields.where('detection')}: padding: expected it at a layer of any_length alone"
        )


def _check_tensors(digests: Fields, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors whose bytes or values are not what they should be."""
    for key, tensor in tensors.items():
        if digests.sha256(key) != tensor_sha256(tensor):
            raise BundleError(
                f"{source}: tensor {shown(key)}: its bytes do not match their SHA-256"
            )
        if tensor.dtype not in STORED_DTYPES:
            raise BundleError(
                f"{source}: tensor {shown(key)}: dtype {tensor.dtype}, expected float32 or float16"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise BundleError(
                f"{source}: tensor {shown(key)}: holds values that are not finite, expected "
                "finite ones"
            )
    for key in digests.names():
        raise BundleError(f"{digests.where(key)}: the file holds no such tensor")


def _check_layers(layers: tuple[Layer, ...], target: int, source: str) -> None:
    """Refuse layers that do not make repairs of which each flags samples of its own."""
    where = f"{source}: layers"
    if not any(layer.correction for layer in layers):
        raise BundleError(f"{where}: none repairs, expected at least one")
    named = [layer.target for layer in layers if layer.target is not None]
    if named and len(named) < len(layers):
        raise BundleError(f"{where}: some name their target, expected all or none of them to")
    if named and target != named[0]:
        raise BundleError(f"{source}: target: {target}, expected {named[0]}, the first layer's")
    repairs = repairs_of(layers, target)
    several_targets = len({repair.target for repair in repairs}) > 1
    for repair in repairs:
        of = f" for target {repair.target}" if several_targets else ""
        names = [layer.name for layer in repair.layers]
        if len(set(names)) != len(names):
            raise BundleError(f"{where}: a layer stands there twice{of}")
        if sum(layer.detection is not None for layer in repair.layers) > 1:
            raise BundleError(f"{where}: several detect{of}, expected at most one")
        if not repair.repairing_layers:
            raise BundleError(f"{where}: none repairs{of}, expected at least one")
        if repair.detecting_layer is None and INPUT_LAYER in names:
            raise BundleError(f"{where}: {INPUT_LAYER!r} repairs{of}, and no layer detects for it")
        if len(repairs) > 1 and repair.detecting_layer is None:
            raise BundleError(f"{where}: a repair{of} does not detect, expected each of several to")
        if of and not repair.only_target:
            raise BundleError(
                f"{where}: none{of} detects with only_target, expected one beside other targets"
            )


def _read_input(fields: Fields, kinds: Sequence[str], *, newest: bool) -> InputDescription:
    kind = fields.choice("kind", kinds)
    described = InputDescription(
        kind,
        fields.sizes("shape"),
        tuple(fields.numbers("mean")),
        tuple(fields.numbers("std")),
    )
    if kind == "image":
        channels = described.shape[0]
        if len(described.shape) != 3 or channels not in (1, 3):
            raise BundleError(f"{fields.where('shape')}: expected (1 or 3 channels, height, width)")
        if len(described.mean) != channels or len(described.std) != channels:
            raise BundleError(f"{fields.where('mean')}: mean and std: expected {channels} each")
        if min(described.std) <= 0:
            raise BundleError(f"{fields.where('std')}: expected values above 0")
        if newest and fields.has("resizing"):
            described = replace(described, resizing=read_resizing(fields.fields("resizing")))
    if newest and fields.has("padding"):
        described = replace(described, padding=fields.integers("padding"))
        if (
            kind != "integers"
            or len(described.shape) != 2
            or (len(described.padding) != described.shape[0])
        ):
            raise BundleError(
                f"{fields.where('padding')}: {shown(list(described.padding))}, expected integers "
                "(K, T), and one value for each of the K arguments"
            )
    if kind == "table":
        described = replace(described, table=(table := read_table(fields)))
        if described.shape != (table.width,):
            raise BundleError(
                f"{fields.where('shape')}: {shown(described.shape)}, expected ({table.width},), "
                "which is what the columns give"
            )
    if math.prod(described.shape) > 2**31:
        raise BundleError(
            f"{fields.where('shape')}: {shown(described.shape)} is too large for an input"
        )
    fields.finish()
    return described
