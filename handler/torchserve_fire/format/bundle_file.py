"""The file of a direction bundle, `.safetensors`: read in every version, written in the newest one.

Nothing in a bundle's file is unpickled or imported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from ..errors import BundleError
from .bundle import INPUTS, Bundle, Detection, InputDescription, Layer, with_digest
from .bundle_parts import (
    ROLES,
    read_bundle,
    read_correction_part,
    read_detection_part,
    read_layers,
    read_weights,
)
from .clean_scores import CleanScores
from .correction_forms import FORMS, Correction
from .fields import Fields, shown
from .json_object import parse_json_object
from .layer_tensors import LayerTensors
from .metadata import METADATA_KEY, metadata_sha256, metadata_text
from .regular_file import open_regular
from .resizing import SQUASHED
from .safetensors_file import holds_header, parse_safetensors
from .tensor_digest import tensor_sha256
from .version_1 import read_version_1
from .version_2 import read_version_2
from .version_3 import read_version_3
from .write_file import write_file

FORMAT_VERSION = 4
BUNDLE_FILE = "direction_bundle.safetensors"
"""The name under which an archive holds its bundle."""
MAX_BYTES = 1 << 28
"""Of a bundle's file: matrices of 4,096 channels in four layers. Most take some kilobytes."""


def load_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle's file, of any version of the format.

    Raises:
        BundleError: the file cannot be read, is damaged, of an unknown format version, has an
            unknown or missing field, or a tensor of the wrong shape, dtype or content.
    """
    path = Path(path)
    return parse_bundle(read_bundle_bytes(path), path.name)


def read_bundle_bytes(path: Path) -> bytes:
    """Return the bytes of a bundle's file, of one that is too large only enough to refuse it.

    Raises:
        BundleError: the file cannot be read.
    """
    with open_bundle(path) as file:
        return file.read(MAX_BYTES + 1)


@contextmanager
def open_bundle(path: Path) -> Iterator[BinaryIO]:
    """Open a bundle's file, whose contents are not looked at yet.

    Raises:
        BundleError: it cannot be opened, or not be read while the block runs.
    """
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file, expected a direction bundle") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot read the bundle: {error.strerror}") from None


def parse_bundle(data: bytes, source: str) -> Bundle:
    """Read and check the bytes of a bundle's file; `source` names it in messages.

    Raises:
        BundleError: as `load_bundle`.
    """
    if len(data) > MAX_BYTES:
        raise BundleError(f"{source}: over {MAX_BYTES:,} bytes, expected a direction bundle")
    if not holds_header(data):
        raise BundleError(
            f"{source}: not a direction bundle (a .safetensors file that torchserve-fire build "
            "writes), or cut short"
        )
    file = parse_safetensors(data, source)
    if set(file.metadata) != {METADATA_KEY}:
        found = shown(sorted(file.metadata))
        raise BundleError(
            f"{source}: not a direction bundle (a .safetensors file that torchserve-fire build "
            f"writes): metadata: expected the one key {METADATA_KEY!r}, found {found}"
        )
    text = file.metadata[METADATA_KEY].encode("utf-8", "surrogatepass")
    values = parse_json_object(text, f"{source}: metadata")
    root = Fields(values, source, BundleError)
    version = root.integer("format_version")
    if version not in READERS:
        raise BundleError(
            f"{source}: format_version: {version}, expected 1 to {FORMAT_VERSION}; build the "
            "bundle again with this version of torchserve-fire, or install the one that wrote it"
        )
    if root.sha256("metadata_sha256") != metadata_sha256(values):
        raise BundleError(
            f"{source}: metadata: damaged or changed by hand: it does not match metadata_sha256"
        )
    bundle = READERS[version](root, file.tensors, source)
    return with_digest(bundle, hashlib.sha256(data).hexdigest())


def save_bundle(bundle: Bundle, path: Path | str) -> Bundle:
    """Write a bundle to a `.safetensors` file; the same bundle gives the same bytes.

    The bytes are read back and checked before they replace what was at `path`, in one step. Where
    the bundle would not load, or the writing is interrupted, the old file stays as it was.

    Args:
        bundle: its tensors on any device; its digest is not looked at.
        path: the file; its folder must exist.

    Returns:
        The bundle as read back: its digest is that of the file, its tensors are on the CPU.

    Raises:
        BundleError: the bundle would not load.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    data = bundle_to_bytes(bundle, path.name)
    saved = parse_bundle(data, path.name)
    write_file(data, path)
    return saved


def bundle_to_bytes(bundle: Bundle, source: str) -> bytes:
    """Return the bytes of a bundle's file; `source` names it in messages.

    Raises:
        BundleError: a field holds what JSON does not have.
    """
    # Only here, because a worker, which writes no bundle, need not have the package.
    from safetensors.torch import save

    try:
        tensors, metadata = bundle_to_parts(bundle)
    except (TypeError, ValueError) as error:  # NaN, a tensor, an object.
        raise BundleError(f"{source}: a field of the bundle cannot be stored: {error}") from None
    # Copies, because the format refuses tensors that share memory, as one layer's two may.
    data: bytes = save({key: tensor.cpu().clone() for key, tensor in tensors.items()}, metadata)
    return data


def bundle_to_parts(bundle: Bundle) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata that a bundle's file holds (the inverse of reading).

    Raises:
        TypeError: a field holds what JSON does not have.
        ValueError: a number is not finite.
    """
    tensors: dict[str, Tensor] = {}
    layers = [_layer_to_json(layer, i, tensors) for i, layer in enumerate(bundle.layers)]
    metadata: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model_class": bundle.model_class,
        "weights": {"file_sha256": bundle.weights_sha256, "state_sha256": bundle.state_sha256},
        "input": _input_to_json(bundle.input),
        "target": bundle.target,
        "layers": layers,
        "tensors": {key: tensor_sha256(tensor) for key, tensor in tensors.items()},
        "evidence": dict(bundle.evidence),
        "held_out": dict(bundle.held_out),
        "seed": bundle.seed,
        "versions": dict(bundle.versions),
    }
    metadata["metadata_sha256"] = metadata_sha256(json.loads(metadata_text(metadata)))
    return tensors, {METADATA_KEY: metadata_text(metadata)}


def _input_to_json(described: InputDescription) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": described.kind,
        "shape": list(described.shape),
        "mean": [float(value) for value in described.mean],
        "std": [float(value) for value in described.std],
    }
    if described.resizing != SQUASHED:
        entry["resizing"] = described.resizing.stored()
    if described.padding:
        entry["padding"] = list(described.padding)
    if described.table is not None:
        entry["columns"] = described.table.settings()
    return entry


def _layer_to_json(layer: Layer, index: int, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return a layer's fields, and put its tensors among those of the file."""
    prefix = f"layers.{index}."
    entry: dict[str, Any] = {
        "name": layer.name,
        "feature_shape": list(layer.feature_shape),
        "role": layer.role,
        "target": layer.target,
        "repair": layer.repair,
        "detection": None,
        "correction": None,
    }
    if layer.any_length:
        entry["any_length"] = True
    if layer.detection is not None:
        tensors[prefix + "detection"] = layer.detection.weight.contiguous()
        entry["detection"] = {
            "threshold": float(layer.detection.threshold),
            "only_target": layer.detection.only_target,
            "clean_scores": _clean_scores_to_json(layer.detection.clean_scores),
            "anywhere": layer.detection.anywhere,
        }
        if layer.detection.padding:
            entry["detection"]["padding"] = list(layer.detection.padding)
    if layer.correction is not None:
        fields, parts = layer.correction.stored()
        tensors.update({prefix + part: tensor.contiguous() for part, tensor in parts.items()})
        entry["correction"] = {"form": layer.correction.form, **fields}
    return entry


def _clean_scores_to_json(scores: CleanScores | None) -> dict[str, Any] | None:
    return None if scores is None else {"count": scores.count, "deciles": list(scores.deciles)}


def _read_version_4(root: Fields, tensors: Mapping[str, Tensor], source: str) -> Bundle:
    layers = read_layers(root, tensors, source, ROLES, _read_parts, newest=True)
    weights_sha256, state_sha256 = read_weights(root, source)
    return read_bundle(
        root,
        layers,
        source,
        weights_sha256=weights_sha256,
        state_sha256=state_sha256,
        inputs=INPUTS,
        evidence=root.mapping("evidence"),
        newest=True,
    )


def _read_parts(
    fields: Fields, tensors: LayerTensors
) -> tuple[Detection | None, Correction | None]:
    detection = read_detection_part(
        fields, tensors, lambda part: part.boolean("anywhere"), newest=True
    )
    return detection, read_correction_part(fields, tensors, list(FORMS))


READERS: Mapping[int, Callable[[Fields, Mapping[str, Tensor], str], Bundle]] = {
    1: read_version_1,
    2: read_version_2,
    3: read_version_3,
    FORMAT_VERSION: _read_version_4,
}
