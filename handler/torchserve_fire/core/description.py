"""What a worker says of itself: its bundle, its mode, and what it has counted."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..format.bundle import Bundle, InputDescription, Layer
from ..model.request_body import RequestBody

MAX_EXAMPLE_BYTES = 64 * 1024
"""Of a request's body that a description holds."""


@dataclass(frozen=True)
class OwnInput:
    """What is known of the requests to an archive whose own handler prepares inputs.

    Attributes:
        example: the body of one; None where the archive has none, or a large one, or where any
            image will do.
    """

    example: RequestBody | None


def describe_worker(
    served_as: tuple[str, str],
    mode: str,
    bundle: Bundle | None,
    described: InputDescription,
    counts: Mapping[str, Any],
    own: OwnInput | None = None,
    folder: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a worker's description, of what JSON has.

    Args:
        served_as: the model's name and version.
        mode: of the worker.
        bundle: what it judges by; None in mode `off`.
        described: what the model takes.
        counts: what it has counted since it started.
        own: where the archive's own handler prepares inputs, what is known of these.
        folder: where bundles are taken from a folder, what is known of that.
    """
    name, version = served_as
    described_input: dict[str, Any] = {"kind": described.kind, "shape": list(described.shape)}
    if described.table is not None:
        described_input["columns"] = described.table.settings()
    if own is not None:
        described_input["prepared_by"] = "handler"
        if own.example is not None:
            body = base64.b64encode(own.example.content).decode()
            described_input["example"] = {"body": body, "suffix": own.example.suffix}
    followed = {} if folder is None else {"bundle_folder": folder}
    return {
        **followed,
        "model_name": name,
        "model_version": version,
        "mode": mode,
        "bundle": bundle.digest if bundle else None,
        "input": described_input,
        "target": bundle.target if bundle else None,
        "layers": [_describe_layer(layer) for layer in bundle.layers] if bundle else [],
        "held_out": dict(bundle.held_out) if bundle else {},
        # Who has answered has nothing left from before: so a swap knows when all have.
        "worker_pid": os.getpid(),
        "counts": counts,
    }


def _describe_layer(layer: Layer) -> dict[str, Any]:
    correction = layer.correction
    return {
        "name": layer.name,
        "role": layer.role,
        "target": layer.target,
        "form": correction.form if correction else None,
        "strength": correction.strength if correction else None,
    }
