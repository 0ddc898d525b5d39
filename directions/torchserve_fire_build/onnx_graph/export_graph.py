"""Making one ONNX graph of a model and its repair, for batches of any size."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError, first_line
from torchserve_fire.format.bundle import Repair

from ..common.errors import ExportError
from .names import CHOSEN, FLAGGED, INPUT, LOGITS, REPEATED, SCORE
from .only_if_flagged import repeat_only_if_flagged
from .repaired_graph import RepairedGraph

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
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # Of torch's own use of what it has deprecated; nothing that a user can act on.
            warnings.simplefilter("ignore")
            answered = graph(example)
            names = [LOGITS, FLAGGED, *([] if answered.score is None else [SCORE])]
            for i in range(len(answered.repeated)):
                names += [f"{CHOSEN}{i}", f"{REPEATED}{i}"]
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=names,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except FireError:
        raise
    except Exception as error:  # Whatever the tracer, or the model, raises.
        raise ExportError(
            f"{type(model).__name__}: cannot be exported to ONNX with its repair: "
            f"{first_line(error)}"
        ) from error
    if program is None:
        raise ExportError(f"{type(model).__name__}: torch.onnx.export returned nothing")
    repeat_only_if_flagged(program.model, len(answered.repeated))
    program.model.metadata_props.update(metadata or {})
    proto = program.model_proto
    if proto.ByteSize() > MAX_BYTES:
        raise ExportError(
            f"{type(model).__name__}: the graph takes {proto.ByteSize() / 1e9:.1f} GB, expected at "
            "most 2 GB, which one ONNX file may hold"
        )
    data: bytes = proto.SerializeToString()
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as error:
        raise ExportError(
            f"{type(model).__name__}: onnx.checker refuses the graph: {first_line(error)}"
        ) from error
    return data
