"""What a worker says of itself: its bundle, its mode, and what it has counted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..format.bundle import Bundle, InputDescription, Layer


def describe_worker(
    served_as: tuple[str, str],
    mode: str,
    bundle: Bundle | None,
    described: InputDescription,
    counts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a worker's description, of what JSON has.

    Args:
        served_as: the model's name and version.
        mode: of the worker.
        bundle: what it judges by; None in mode `off`.
        described: what the model takes.
        counts: what it has counted since it started.
    """
    name, version = served_as
    return {
        "model_name": name,
        "model_version": version,
        "mode": mode,
        "bundle": bundle.digest if bundle else None,
        "input": {"kind": described.kind, "shape": list(described.shape)},
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
