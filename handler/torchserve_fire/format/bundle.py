"""The direction bundle: what a repair needs, in one `.safetensors` file.

All metadata is one JSON text under the key `fire`: several keys would not save byte-identically.
Nothing in a bundle is unpickled or imported. A bundle is known by its digest, never by its name.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BundleError
from .clean_scores import BINS, CleanScores
from .fields import Fields, shown
from .safetensors_file import parse_json_object, parse_safetensors

FORMAT_VERSION = 3
METADATA_KEY = "fire"
BUNDLE_FILE = "direction_bundle.safetensors"
"""The name under which an archive holds its bundle."""

FORMS = ("shift", "affine", "clamp", "local")
ROLES = ("detects", "repairs", "both")
STORED_DTYPES = (torch.float32, torch.float16)
# "integers" are those that an embedding takes: of words, or of the values of a table's columns.
INPUTS = ("image", "tensor", "integers")


@dataclass(frozen=True)
class Detection:
    """How a layer tells triggered samples from clean ones.

    Attributes:
        weight: direction to project on, broadcastable to the feature shape.
        threshold: a projection above it is flagged.
        only_target: whether a sample must also be predicted as the target to be flagged.
        clean_scores: how the projections of clean samples are spread, where calibration says so.
    """

    weight: Tensor
    threshold: float
    only_target: bool = False
    clean_scores: CleanScores | None = None


@dataclass(frozen=True)
class Correction:
    """How a layer moves samples back.

    Attributes:
        form: "shift" (mean shift), "affine" (a shift that depends on the channels of each place),
            "clamp" (one-sided clamp of the projection) or "local" (replacement of the places whose
            projection is beyond the clean range).
        direction: mean of triggered minus clean features, broadcastable to the feature shape; of
            "affine" its part that depends on nothing; of "local", what the channels of each place
            are projected on, (C, 1, 1) or (1, D).
        strength: how far to move; 1 is the whole way.
        threshold: of "clamp" and "local": the upper end of the clean range of the projection.
        anchor: of "clamp": the clean median of the projection.
        replacement: of "local", for where nothing else is near: the mean clean channels, (C, 1, 1)
            or (1, D).
        slope: of "affine": how triggered minus clean channels depend on the triggered ones, (C, C).
    """

    form: str
    direction: Tensor
    strength: float
    threshold: float | None = None
    anchor: float | None = None
    replacement: Tensor | None = None
    slope: Tensor | None = None


@dataclass(frozen=True)
class Layer:
    """One layer that the bundle acts on.

    Attributes:
        name: the module's name in the model.
        feature_shape: shape of one sample's features there, without the batch dimension.
        detection: how it tells, where it does.
        correction: how it repairs, where it does.
        target: the class that the trigger which this is for leads to; None: the bundle's target.
    """

    name: str
    feature_shape: tuple[int, ...]
    detection: Detection | None = None
    correction: Correction | None = None
    target: int | None = None

    @property
    def role(self) -> str:
        """One of "tells", "repairs", "both"."""
        if self.detection is not None and self.correction is not None:
            return "both"
        return "detects" if self.detection is not None else "repairs"


@dataclass(frozen=True)
class Repair:
    """The layers that undo one trigger.

    Attributes:
        target: the class that the trigger leads to; None where nothing asks for it.
        layers: at most one of them detects.
    """

    target: int | None
    layers: tuple[Layer, ...]

    @property
    def detecting_layer(self) -> Layer | None:
        """The layer that judges, or None where every input is corrected."""
        return next((layer for layer in self.layers if layer.detection is not None), None)

    @property
    def repairing_layers(self) -> tuple[Layer, ...]:
        """The layers that repair."""
        return tuple(layer for layer in self.layers if layer.correction is not None)

    @property
    def only_target(self) -> bool:
        """Whether it flags nothing but what is predicted as its target.

        Where all repairs of a bundle do, no sample is flagged for two of them.
        """
        layer = self.detecting_layer
        return layer is not None and layer.detection is not None and layer.detection.only_target


def repairs_of(layers: Sequence[Layer], target: int | None) -> tuple[Repair, ...]:
    """Group layers by the trigger that they are for, in the order of each one's first layer.

    Args:
        layers: of one bundle.
        target: what the trigger of layers that name none leads to.
    """
    grouped: dict[int | None, list[Layer]] = {}
    for layer in layers:
        grouped.setdefault(target if layer.target is None else layer.target, []).append(layer)
    return tuple(Repair(key, tuple(group)) for key, group in grouped.items())


@dataclass(frozen=True)
class InputDescription:
    """What the model takes, as calibration saw it.

    Attributes:
        kind: one of `INPUTS`.
        shape: of one sample, without the batch dimension; (C, H, W) for images.
        mean: per channel, for images.
        std: per channel, for images.
    """

    kind: str
    shape: tuple[int, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        """What the model's input holds: int64 for integers, else float32."""
        return torch.int64 if self.kind == "integers" else torch.float32

    def example(self) -> Tensor:
        """Return a batch of one input of zeros, (1, *shape)."""
        return torch.zeros(1, *self.shape, dtype=self.dtype)


@dataclass(frozen=True)
class Bundle:
    """A direction bundle.

    Attributes:
        layers: what to do where; of those for one trigger, at most one detects, and at least one
            repairs.
        model_class: name of the class it was built for.
        weights_sha256: SHA-256 of the weights' file it was built for.
        input: what the model takes.
        target: the class that the trigger leads to; of several triggers, the first repair's.
        evidence: what it was estimated from (counts, paired or not).
        held_out: what was measured on the held-out calibration samples.
        seed: of the build.
        versions: of the software that built it.
        digest: SHA-256 of the file; empty for a bundle that is not saved.
    """

    layers: tuple[Layer, ...]
    model_class: str
    weights_sha256: str
    input: InputDescription
    target: int
    evidence: Mapping[str, Any]
    held_out: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str]
    digest: str = ""

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """The layers by the trigger that they are for; in most bundles there is one."""
        return repairs_of(self.layers, self.target)

    @property
    def targets(self) -> tuple[int, ...]:
        """The class that each repair's trigger leads to."""
        return tuple(self.target if r.target is None else r.target for r in self.repairs)

    @property
    def detecting_layers(self) -> tuple[Layer, ...]:
        """The layers that judge, one of each repair; none where every input is corrected."""
        return tuple(layer for layer in self.layers if layer.detection is not None)

    @property
    def repairing_layers(self) -> tuple[Layer, ...]:
        """The layers that repair."""
        return tuple(layer for layer in self.layers if layer.correction is not None)


def bundle_to_parts(bundle: Bundle) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata that a bundle's file holds (the inverse of reading)."""
    tensors: dict[str, Tensor] = {}
    layers = []
    for i, layer in enumerate(bundle.layers):
        entry: dict[str, Any] = {
            "name": layer.name,
            "feature_shape": list(layer.feature_shape),
            "role": layer.role,
            "target": layer.target,
            "detection": None,
            "correction": None,
        }
        if layer.detection is not None:
            tensors[f"layers.{i}.detection"] = layer.detection.weight
            entry["detection"] = {
                "threshold": float(layer.detection.threshold),
                "only_target": layer.detection.only_target,
                "clean_scores": _clean_scores_to_json(layer.detection.clean_scores),
            }
        if layer.correction is not None:
            tensors[f"layers.{i}.correction"] = layer.correction.direction
            if layer.correction.replacement is not None:
                tensors[f"layers.{i}.replacement"] = layer.correction.replacement
            if layer.correction.slope is not None:
                tensors[f"layers.{i}.slope"] = layer.correction.slope
            entry["correction"] = {
                "form": layer.correction.form,
                "strength": float(layer.correction.strength),
                "threshold": _optional_float(layer.correction.threshold),
                "anchor": _optional_float(layer.correction.anchor),
            }
        layers.append(entry)
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    metadata: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model_class": bundle.model_class,
        "weights_sha256": bundle.weights_sha256,
        "input": {
            "kind": bundle.input.kind,
            "shape": list(bundle.input.shape),
            "mean": [float(value) for value in bundle.input.mean],
            "std": [float(value) for value in bundle.input.std],
        },
        "target": bundle.target,
        "layers": layers,
        "tensors": {key: tensor_sha256(tensor) for key, tensor in tensors.items()},
        "evidence": dict(bundle.evidence),
        "held_out": dict(bundle.held_out),
        "seed": bundle.seed,
        "versions": dict(bundle.versions),
    }
    metadata["metadata_sha256"] = metadata_sha256(json.loads(_to_json(metadata)))
    return tensors, {METADATA_KEY: _to_json(metadata)}


def load_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle's file.

    Raises:
        BundleError: the file cannot be read, is damaged, of an unknown format version, has an
            unknown or missing field, or a tensor of the wrong shape, dtype or content.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot read the bundle: {error.strerror}") from None
    return parse_bundle(data, path.name)


def parse_bundle(data: bytes, source: str) -> Bundle:
    """Read and check the bytes of a bundle's file; `source` names it in messages.

    Raises:
        BundleError: as `load_bundle`.
    """
    file = parse_safetensors(data, source)
    if set(file.metadata) != {METADATA_KEY}:
        found = shown(sorted(file.metadata))
        raise BundleError(
            f"{source}: metadata: expected the one key {METADATA_KEY!r} of a direction bundle, "
            f"found {found}"
        )
    text = file.metadata[METADATA_KEY].encode("utf-8", "surrogatepass")
    values = parse_json_object(text, f"{source}: metadata")
    root = Fields(values, source, BundleError)
    version = root.integer("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{source}: format_version: {version}, expected {FORMAT_VERSION}; "
            "build the bundle again with this version of torchserve-fire"
        )
    if root.sha256("metadata_sha256") != metadata_sha256(values):
        raise BundleError(
            f"{source}: metadata: damaged or changed by hand: it does not match metadata_sha256"
        )
    _check_tensors(root.fields("tensors"), file.tensors, source)
    tensors = dict(file.tensors)
    layers = tuple(
        _parse_layer(fields, i, tensors) for i, fields in enumerate(root.list_of_fields("layers"))
    )
    if tensors:
        raise BundleError(f"{source}: tensor {shown(next(iter(tensors)))}: no layer uses it")
    target = root.integer("target", minimum=0)
    _check_layers(layers, target, source)
    bundle = Bundle(
        layers=layers,
        model_class=root.text("model_class"),
        weights_sha256=root.sha256("weights_sha256"),
        input=_parse_input(root.fields("input")),
        target=target,
        evidence=root.mapping("evidence"),
        held_out=root.mapping("held_out"),
        seed=root.integer("seed"),
        versions=root.texts("versions"),
        digest=hashlib.sha256(data).hexdigest(),
    )
    root.finish()
    return bundle


def metadata_sha256(metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 of parsed metadata without its field `metadata_sha256`.

    It tells damage, as the tensors' own do; whoever changes a file on purpose can compute it
    again, and only the digest of the file tells that.
    """
    rest = {key: value for key, value in metadata.items() if key != "metadata_sha256"}
    return hashlib.sha256(_to_json(rest).encode()).hexdigest()


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def tensor_sha256(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes, as hexadecimal digits."""
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(data.numpy().tobytes()).hexdigest()


def _optional_float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _clean_scores_to_json(scores: CleanScores | None) -> dict[str, Any] | None:
    return None if scores is None else {"count": scores.count, "deciles": list(scores.deciles)}


def _parse_clean_scores(fields: Fields | None) -> CleanScores | None:
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


def _check_tensors(digests: Fields, tensors: Mapping[str, Tensor], source: str) -> None:
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


def _parse_layer(fields: Fields, i: int, tensors: dict[str, Tensor]) -> Layer:
    shape = fields.sizes("feature_shape")

    def take_any(part: str) -> Tensor:
        key = f"layers.{i}.{part}"
        if key not in tensors:
            raise BundleError(f"{fields.where(part)}: the tensor {key!r} is missing")
        return tensors.pop(key).float()

    def take(part: str) -> Tensor:
        key, tensor = f"layers.{i}.{part}", take_any(part)
        if len(tensor.shape) != len(shape) or any(
            size not in (1, of) for size, of in zip(tensor.shape, shape, strict=True)
        ):
            raise BundleError(
                f"{fields.where(part)}: tensor {key!r} of shape {tuple(tensor.shape)}, expected "
                f"{shown(shape)} or the same with sizes of 1"
            )
        return tensor

    def take_direction(part: str) -> Tensor:
        tensor = take(part)
        if not bool(tensor.any()):
            key = f"layers.{i}.{part}"
            raise BundleError(f"{fields.where(part)}: tensor {key!r} is all zero: no direction")
        return tensor

    def take_channels(part: str, tensor: Tensor) -> Tensor:
        # Of maps the first axis is the channels', of tokens the last.
        axis = 0 if len(shape) == 3 else 1
        if len(shape) not in (2, 3) or tensor.shape[axis] != tensor.numel():
            raise BundleError(
                f"{fields.where(part)}: form 'local' takes one value per channel of a map "
                f"(C, H, W) or of tokens (T, D), found shape {tuple(tensor.shape)} for features "
                f"of shape {shown(shape)}"
            )
        return tensor

    def take_slope() -> Tensor:
        tensor = take_any("slope")
        channels = shape[0] if len(shape) == 3 else shape[-1]
        if len(shape) not in (2, 3) or tuple(tensor.shape) != (channels, channels):
            raise BundleError(
                f"{fields.where('slope')}: form 'affine' takes a matrix (C, C) for a map (C, H, W) "
                f"or tokens (T, C), found shape {tuple(tensor.shape)} for features of shape "
                f"{shown(shape)}"
            )
        return tensor

    detection = correction = None
    if (part := fields.optional_fields("detection")) is not None:
        detection = Detection(
            take_direction("detection"),
            part.number("threshold"),
            only_target=part.boolean("only_target"),
            clean_scores=_parse_clean_scores(part.optional_fields("clean_scores")),
        )
        part.finish()
    if (part := fields.optional_fields("correction")) is not None:
        form = part.choice("form", FORMS)
        local = form == "local"
        direction = take_direction("correction")
        correction = Correction(
            form,
            take_channels("correction", direction) if local else direction,
            part.number("strength"),
            part.optional_number("threshold", given=form in ("clamp", "local")),
            part.optional_number("anchor", given=form == "clamp"),
            take_channels("replacement", take("replacement")) if local else None,
            take_slope() if form == "affine" else None,
        )
        part.finish()
        if correction.strength <= 0:
            raise BundleError(f"{part.where('strength')}: {correction.strength}, expected above 0")
    target = fields.optional_integer("target", minimum=0)
    layer = Layer(fields.text("name"), shape, detection, correction, target)
    role = fields.choice("role", ROLES)
    if (detection is None and correction is None) or role != layer.role:
        raise BundleError(
            f"{fields.where('role')}: {role!r}, expected it to say which of detecting and repairing"
            " the layer has"
        )
    fields.finish()
    return layer


def _check_layers(layers: tuple[Layer, ...], target: int, source: str) -> None:
    where = f"{source}: layers"
    if not any(layer.correction for layer in layers):
        raise BundleError(f"{where}: none repairs, expected at least one")
    named = [layer.target for layer in layers if layer.target is not None]
    if named and len(named) < len(layers):
        raise BundleError(f"{where}: some name their target, expected all or none of them to")
    if named and target != named[0]:
        raise BundleError(f"{source}: target: {target}, expected {named[0]}, the first layer's")
    repairs = repairs_of(layers, target)
    for repair in repairs:
        of = f" for target {repair.target}" if len(repairs) > 1 else ""
        names = [layer.name for layer in repair.layers]
        if len(set(names)) != len(names):
            raise BundleError(f"{where}: a layer stands there twice{of}")
        if sum(layer.detection is not None for layer in repair.layers) > 1:
            raise BundleError(f"{where}: several detect{of}, expected at most one")
        if not repair.repairing_layers:
            raise BundleError(f"{where}: none repairs{of}, expected at least one")
        if of and not repair.only_target:
            raise BundleError(
                f"{where}: none{of} detects with only_target, expected one beside other targets"
            )


def _parse_input(fields: Fields) -> InputDescription:
    kind = fields.choice("kind", INPUTS)
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
    if math.prod(described.shape) > 2**31:
        raise BundleError(
            f"{fields.where('shape')}: {shown(described.shape)} is too large for an input"
        )
    fields.finish()
    return described
