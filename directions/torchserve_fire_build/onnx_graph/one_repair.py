"""One repair of several alone, in a bundle's layers and in a graph: the others flag nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from torchserve_fire.format.bundle import Layer, Repair

from ..common.errors import ExportError


def layers_with_one_repair(repairs: Sequence[Repair], only: int) -> list[Layer]:
    """Return a bundle's layers with infinite thresholds in all repairs but one."""
    return [
        layer
        if i == only or layer.detection is None
        else replace(layer, detection=replace(layer.detection, threshold=math.inf))
        for i, repair in enumerate(repairs)
        for layer in repair.layers
    ]


def with_one_repair(graph: bytes, only: int, repairs: int) -> bytes:
    """Return a graph with infinite thresholds in all repairs but one.

    Raises:
        ExportError: the graph holds no thresholds that can be changed.
    """
    proto = onnx.load_from_string(graph)
    others = {f"projections.{i}.threshold" for i in range(repairs) if i != only}
    for tensor in proto.graph.initializer:
        if tensor.name in others:
            others.remove(tensor.name)
            infinite = np.array(math.inf, dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(infinite, tensor.name))
    if others:
        raise ExportError(f"the graph lacks {sorted(others)[0]}, so its repairs cannot be compared")
    data: bytes = proto.SerializeToString()
    return data
