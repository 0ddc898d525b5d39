"""Version 1 of a bundle's file: version 2 without clean scores, and without input of integers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .bundle import Bundle, Detection
from .bundle_parts import read_bundle, read_layers
from .correction_forms import Correction
from .fields import Fields
from .layer_tensors import LayerTensors
from .version_2 import ROLES, evidence_in_words_of_today, read_repairing

INPUTS = ("image", "tensor")


def read_version_1(root: Fields, tensors: Mapping[str, Tensor], source: str) -> Bundle:
    """Read a bundle of version 1.

    Args:
        root: the metadata, without the version and the digest.
        tensors: of the file, by name.
        source: the file's name, for messages.

    Returns:
        The bundle in today's words; its `state_sha256` is None, its digest empty.

    Raises:
        BundleError: a field or tensor is missing, unknown, or not as it should be.
    """
    return read_bundle(
        root,
        read_layers(root, tensors, source, ROLES, _read_parts),
        source,
        weights_sha256=root.sha256("weights_sha256"),
        state_sha256=None,
        inputs=INPUTS,
        evidence=evidence_in_words_of_today(root.mapping("evidence")),
    )


def _read_parts(
    fields: Fields, tensors: LayerTensors
) -> tuple[Detection | None, Correction | None]:
    detection = None
    if (part := fields.optional_fields("telling")) is not None:
        detection = Detection(
            tensors.direction("telling"), part.number("threshold"), part.boolean("only_target")
        )
        part.finish()
    return detection, read_repairing(fields, tensors)
