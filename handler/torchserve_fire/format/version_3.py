"""Version 3 of a bundle's file: version 4 with one repair for each target, and without overlays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ..errors import BundleError
from .bundle import INPUTS, Bundle, Detection
from .bundle_parts import ROLES, read_bundle, read_clean_scores, read_correction, read_layers
from .correction_forms import FIRST_FORMS, Correction
from .fields import Fields
from .layer_tensors import LayerTensors


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


def _read_parts(
    fields: Fields, tensors: LayerTensors
) -> tuple[Detection | None, Correction | None]:
    detection = None
    if (part := fields.optional_fields("detection")) is not None:
        detection = Detection(
            tensors.direction("detection"),
            part.number("threshold"),
            part.boolean("only_target"),
            read_clean_scores(part.optional_fields("clean_scores")),
        )
        part.finish()
    return detection, read_correction_part(fields, tensors, FIRST_FORMS)
