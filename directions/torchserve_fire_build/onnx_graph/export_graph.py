"""Making one ONNX graph of a model and its repair, for batches of any size."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from torchserve_fire.errors import first_line
from torchserve_fire.format.bundle import Repair

from ..common.errors import ExportError
from .names import CHOSEN, FLAGGED, INPUT, LOGITS, SCORE, WITHOUT
from .only_if_flagged import repeat_only_if_flagged
from .overlay_loop import INPUT_NAMES, OUTPUT_NAMES, OverlayAttempt, undo_overlay
from .repaired_graph import RepairedGraph

UNLIKELY = 0.8437219
"""As a value of any other constant in a graph."""

MAX_BYTES = 2**31 - 1
"""What one protobuf message may hold."""


def export_graph(
    model: nn.Module,
    repairs: Sequence[Repair],
    passes: int,
    example: Tensor,
    *,
    half: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return an ONNX graph that answers as the repaired model does.

    Args:
        model: on the CPU, in evaluation mode, without corrections. It stays as it is.
        repairs: of its bundle.
        passes: forward passes that a flagged sample costs, as `RepairHandle.passes` says.
        example: inputs, (2 or more, *S) float32 or int64; their values do not matter.
        half: whether the network computes in float16. What goes in and out stays float32, and so
            does the projection that detects.
        metadata: goes into the graph's `metadata_props`.

    Returns:
        The file's contents. Its outputs are called `logits`, `flagged` and, if a layer detects,
        `score`; its input `input`.

    Raises:
        ExportError: the model or its repair cannot be expressed as an ONNX graph, or only for one
            size of the batch.
    """
    graph = RepairedGraph(copy.deepcopy(model).half() if half else model, repairs, passes).eval()
    removals = graph.removals
    kind = type(model).__name__
    # Of one tensor that is given twice, the tracer makes one input.
    inputs = (example, *(example.clone() for _ in removals))
    names = [LOGITS, FLAGGED, *([SCORE] if graph.thresholds else [])]
    names += [f"{CHOSEN}{i}" for i in range(graph.repeats)]
    with _distinct_thresholds(graph.thresholds) as set_thresholds:
        traced = _trace(graph, inputs, [INPUT, *(f"{WITHOUT}{i}" for i in removals)], names, kind)
    set_thresholds(traced)
    for i, removal in removals.items():
        attempt = OverlayAttempt(removal)
        body = _trace(attempt, attempt.example(example), INPUT_NAMES, OUTPUT_NAMES, kind)
        undo_overlay(traced, i, body)
    repeat_only_if_flagged(traced, graph.repeats)
    # What the tracer wrote down of each node names files of this machine.
    ClearMetadataAndDocStringPass()(traced)
    traced.metadata_props.update(metadata or {})
    weights = [value.const_value for value in traced.graph.initializers.values()]
    size = sum(tensor.nbytes for tensor in weights if tensor is not None)
    if size > MAX_BYTES:
        raise ExportError(
            f"{kind}: the graph takes {size / 1e9:.1f} GB, expected at most 2 GB, which one ONNX "
            "file may hold"
        )
    data: bytes = ir.to_proto(traced).SerializeToString()
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as error:
        raise ExportError(f"{kind}: onnx.checker refuses the graph: {first_line(error)}") from error
    return data


def _trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    kind: str,
) -> ir.Model:
    """Return the graph of a module, whose inputs and outputs are batches of any size.

    Raises:
        ExportError: it has none; the message begins with the `kind` of model.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # Of torch's own use of what it has deprecated; nothing that a user can act on.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                inputs,
                dynamo=True,
                verbose=False,
                input_names=list(input_names),
                output_names=list(output_names),
                dynamic_shapes=_dynamic(module, inputs),
            )
    except Exception as error:  # Whatever the tracer, or the model, raises.
        # The outer ones say in which step it was, and how to report it.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ExportError(
            f"{kind}: cannot be exported to ONNX with its repair: {first_line(cause)}"
        ) from error
    if program is None:
        raise ExportError(f"{kind}: torch.onnx.export returned nothing")
    return program.model


@contextmanager
def _distinct_thresholds(
    given: Sequence[Tensor],
) -> Iterator[Callable[[ir.Model], None]]:
    """Give thresholds values of their own while a graph is traced, which makes one of equal ones.

    Yields:
        What sets those of a traced graph to what they were.
    """
    thresholds = {f"projections.{i}.threshold": one for i, one in enumerate(given)}
    values = {name: tensor.clone() for name, tensor in thresholds.items()}

    def set_thresholds(traced: ir.Model) -> None:
        for name, value in values.items():
            if name not in traced.graph.initializers:
                raise ExportError(f"the tracer left no {name} in the graph")
            constant = ir.tensor(value.numpy(), name=name)
            traced.graph.initializers[name].const_value = constant

    for i, threshold in enumerate(thresholds.values()):
        threshold.fill_(UNLIKELY + i)
    try:
        yield set_thresholds
    finally:
        for name, threshold in thresholds.items():
            threshold.copy_(values[name])


def _dynamic(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[Any, ...]:
    """Return that the first dimension of each input may have any size, the same for all."""
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} if value.dim() else {} for value in inputs)
    # The tracer wants those of a variable argument in a tuple of their own.
    varied = isinstance(module, RepairedGraph) and len(shapes) > 1
    return (shapes[0], shapes[1:]) if varied else shapes
