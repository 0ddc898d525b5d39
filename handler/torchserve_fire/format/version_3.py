"""Version 3 of a bundle's file: version 4 with one repair for each target, and without overlays."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .bundle import Bundle, Detection
from .bundle_parts import (
    ROLES,
    read_bundle,
    read_correction_part,
    read_detection_part,
    read_layers,
    read_weights,
)
from .correction_forms import FIRST_FORMS, Correction
from .fields import Fields
from .layer_tensors import LayerTensors
from .version_2 import INPUTS


def read_version_3(root: Fields, tensors: Mapping[str, Tensor], source: str) -> Bundle:
    """Read a bundle of version 3.

    Args:
        root: the metadata, without the version and the digest.
        tensors: of the file, by name.
        source: the file's name, for messages.

    Returns:
        The bundle; its digest is empty.

    Raises:
        BundleError: a field or tensor is missing, unknown, or not as it should be.
    """
    layers = read_layers(root, tensors, source, ROLES, _read_parts)
    weights_sha256, state_sha256 = read_weights(root, source)
    return read_bundle(
        root,
        layers,
        source,
        weights_sha256=weights_sha256,
        state_sha256=state_sha256,
        inputs=INPUTS,
        evidence=root.mapping("evidence"),
    )


def _read_parts(
    fields: Fields, tensors: LayerTensors
) -> tuple[Detection | None, Correction | None]:
    detection = read_detection_part(fields, tensors, lambda part: False)
    return detection, read_correction_part(fields, tensors, FIRST_FORMS)
