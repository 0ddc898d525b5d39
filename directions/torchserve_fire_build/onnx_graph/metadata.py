"""What an exported graph says of itself: what it expects, and what it was made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from torchserve_fire.format.bundle import Bundle, InputDescription

from ..common.installed import installed_version

PREFIX = "torchserve_fire."


def graph_metadata(
    bundle: Bundle, described: InputDescription, names: Sequence[str], *, probabilities: bool
) -> dict[str, str]:
    """Return the entries of a graph's `metadata_props`.

    Args:
        bundle: whose repair is in the graph.
        described: the model's input.
        names: of the classes, in their order; none where they are not known.
        probabilities: whether the model answers with these in the place of logits.

    Returns:
        Texts; what is no text is in JSON.
    """
    values: dict[str, Any] = {
        "version": installed_version("torchserve-fire"),
        "bundle_sha256": bundle.digest,
        "weights_sha256": bundle.weights_sha256,
        "state_sha256": bundle.state_sha256,
        "model_class": bundle.model_class,
        "targets": list(bundle.targets),
        "class_names": list(names) or None,
        "logits": "probabilities" if probabilities else "logits",
        "input": described.kind,
        "input_shape": list(described.shape),
    }
    if described.kind == "image":
        values |= {
            "pixels": "RGB, from 0 to 1, then (pixel - mean) / std",
            "mean": list(described.mean),
            "std": list(described.std),
            "resizing": dict(described.resizing.settings(described.shape[1:])),
        }
    return {
        f"{PREFIX}{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
