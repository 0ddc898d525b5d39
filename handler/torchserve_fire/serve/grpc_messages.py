"""Requests and answers of the Open Inference Protocol over gRPC, alike for all servers.

The classes of the messages are each server's own: those of two libraries cannot be loaded in one
process.
"""

from __future__ import annotations

from typing import Any

import grpc

from ..core.answer import Answer
from ..core.open_inference import BINARY

STATUSES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""The status of gRPC for each status over REST that a refusal has."""

CONTENTS = {"BYTES": "bytes_contents", "FP32": "fp32_contents", "BOOL": "bool_contents"}
"""Where the values of an answer's output stand, by their datatype."""


def decoded(request: Any) -> dict[str, Any]:
    """Return a request as its JSON would be, but for bytes, which JSON has not.

    Args:
        request: a `ModelInferRequest`.
    """
    body: dict[str, Any] = {"id": request.id, "inputs": [_input(one) for one in request.inputs]}
    raw = request.raw_input_contents
    if len(raw) == len(body["inputs"]) == 1:
        tensor = body["inputs"][0]
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(raw[0])}
        body[BINARY] = raw[0]
    elif raw and len(raw) == len(body["inputs"]):
        body[BINARY] = tuple(raw)
    return body


def refused(answer: Answer) -> tuple[grpc.StatusCode, str] | None:
    """Return the status of a refusal and what it says; None where the answer is none."""
    if answer.status not in STATUSES:
        return None
    body = answer.body
    said = body["error"] if "error" in body else f"{body['type']}: {body['message']}"
    return STATUSES[answer.status], said


def fill(response: Any, answer: Answer) -> None:
    """Write an answer that is no refusal into an empty `ModelInferResponse`."""
    body = answer.body
    response.id, response.model_name = body["id"], body["model_name"]
    response.model_version = body["model_version"]
    for output in body["outputs"]:
        datatype, data = output["datatype"], output["data"]
        values = [text.encode() for text in data] if datatype == "BYTES" else data
        response.outputs.add(
            name=output["name"],
            datatype=datatype,
            shape=output["shape"],
            contents={CONTENTS[datatype]: values},
        )


def _input(tensor: Any) -> dict[str, Any]:
    values = next((list(values) for _, values in tensor.contents.ListFields()), [])
    shape = list(tensor.shape)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": values}
