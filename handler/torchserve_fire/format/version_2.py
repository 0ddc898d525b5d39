"""Version 2 of a bundle's file: other words, no digest of the weights beside their file's.

A layer "tells" and has "telling" where it now detects, "repairing" where it now has a correction.
Every correction has the fields of all forms, with null where its own form has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .bundle import Bundle, Detection
from .bundle_parts import read_bundle, read_clean_scores, read_correction, read_layers
from .correction_forms import FIRST_FORMS, Correction
from .fields import Fields
from .layer_tensors import LayerTensors

INPUTS = ("image", "tensor", "integers")
ROLES = {"detects": "tells", "repairs": "repairs", "both": "both"}
FORM_FIELDS: Mapping[str, tuple[str, ...]] = {
    "threshold": ("clamp", "local"),
    "anchor": ("clamp",),
}
"""Which forms have which field; it is null in the others."""


def read_version_2(root: Fields, tensors: Mapping[str, Tensor], source: str) -> Bundle:
    """Read a bundle of version 2.

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


def read_repairing(fields: Fields, tensors: LayerTensors) -> Correction | None:
    """Read a layer's correction from `repairing`; None where it is null.

    Raises:
        BundleError: a field or tensor is missing, unknown, or not as it should be.
    """
    part = fields.optional_fields("repairing")
    if part is None:
        return None
    form = part.choice("form", FIRST_FORMS)
    for name, forms in FORM_FIELDS.items():
        if form not in forms:
            part.null(name)
    return read_correction(part, tensors, "repairing", form)


def evidence_in_words_of_today(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a bundle says of its evidence, with `detector` in the place of `teller`."""
    renamed = {"detector" if name == "teller" else name: value for name, value in evidence.items()}
    return {
        # Of several targets, each has a mapping of its own.
        name: evidence_in_words_of_today(value) if isinstance(value, Mapping) else value
        for name, value in renamed.items()
    }


def _read_parts(
    fields: Fields, tensors: LayerTensors
) -> tuple[Detection | None, Correction | None]:
    detection = None
    if (part := fields.optional_fields("telling")) is not None:
        detection = Detection(
            tensors.direction("telling"),
            part.number("threshold"),
            part.boolean("only_target"),
            read_clean_scores(part.optional_fields("clean_scores")),
        )
        part.finish()
    return detection, read_repairing(fields, tensors)
