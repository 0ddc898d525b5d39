"""Requests and answers of the Open Inference Protocol (KServe v2), as JSON.

They are read and answered one by one, in batches of any size.

TorchServe hands them to any handler as they are: over REST from `/v2/models/NAME/infer`, over gRPC
from `ModelInfer` where it was started with TS_OPEN_INFERENCE_PROTOCOL=oip. Its
`service_envelope=kservev2` is not used, since it reads the first request of a batch only.

Over gRPC, TorchServe 0.12 leaves out `raw_input_contents` (the data arrives empty), parameters and
statuses; texts in answers come as JSON, in quotes. An answer without `id`, `model_name`,
`model_version` or `outputs` kills the worker there, so errors have these, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeGuard

import numpy as np

from ..errors import InputError
from ..format.bundle import InputDescription
from ..format.table import Table
from .answer import Answer
from .infer_row import infer_row

NUMBERS = {
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
"""The datatypes of numbers, and how numpy calls their bytes."""

BINARY = "bytes after the JSON"
"""Where a request has its binary tensor. JSON has no bytes, so nobody else can put them there."""


def infer_request(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the inference request among a request's parameters, or None where there is none.

    Args:
        row: the parameters; the request's own body is `body`. JSON arrives decoded, or as bytes
            where the request does not say that it is JSON, as where a binary tensor follows it.
    """
    body = row.get("body")
    if _may_be_one(body):
        try:
            body = _parse(body)
        except (ValueError, RecursionError):
            return None
    return body if isinstance(body, dict) and "inputs" in body else None


def _parse(body: bytes | bytearray | str) -> Any:
    """Read JSON, and what follows it in bytes (the protocol's binary tensor data extension)."""
    if isinstance(body, str):
        return json.loads(body)
    # Of any bytes, each is a character.
    _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    request, rest = json.loads(body[:end]), bytes(body[end:])
    if isinstance(request, dict) and rest:
        request[BINARY] = rest
    return request


def _may_be_one(body: Any) -> TypeGuard[bytes | bytearray | str]:
    # Other JSON is not read twice.
    if isinstance(body, str):
        return body[:1] == "{" and '"inputs"' in body
    return isinstance(body, (bytes, bytearray)) and body[:1] == b"{" and b'"inputs"' in body


def infer_input(request: Mapping[str, Any], description: InputDescription) -> Any:
    """Return the one sample of an inference request, as `read_body` takes it.

    Args:
        request: with one input: BYTES of one element, an image in base64, or as it is where it
            follows the JSON; or numbers, flat or nested, in the shape of a sample or of a batch of
            one. For a table, what `infer_row` takes.
        description: what the model takes.

    Returns:
        Text in base64, the bytes of an image, or a nested list, whose shape remains to be checked;
        of a table a row, whose cells remain to be checked.

    Raises:
        InputError: there is not one input, or it is no such tensor.
    """
    inputs = request["inputs"]
    if description.table is not None:
        return _row(request, inputs, description.table)
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InputError(
            "inputs: expected a list of one input, with name, shape, datatype, data", reason="JSON"
        )
    shape, datatype, data = (inputs[0].get(key) for key in ("shape", "datatype", "data"))
    binary = request.get(BINARY)
    # A line end after the JSON is none.
    if isinstance(binary, bytes) and ("data" not in inputs[0] or binary.strip()):
        data = _binary_data(binary, inputs[0].get("parameters"), datatype)
    if not isinstance(data, list) or not data:
        raise InputError(
            "inputs[0].data: expected a list; raw_input_contents do not come through TorchServe",
            reason="empty",
        )
    if datatype == "BYTES":
        if len(data) != 1 or not isinstance(data[0], (str, bytes)):
            raise InputError("inputs[0].data: expected one image in base64", reason="base64")
        return data[0]
    if not isinstance(datatype, str) or datatype not in NUMBERS:
        raise InputError(
            f"inputs[0].datatype: expected BYTES or one of {', '.join(NUMBERS)}", reason="JSON"
        )
    expected = list(description.shape)
    if shape not in (expected, [1, *expected]):
        raise InputError(
            f"inputs[0].shape: expected {expected}, or {[1, *expected]}: one sample per request",
            reason="shape",
        )
    if isinstance(data[0], list):
        if shape == expected:
            return data
        if len(data) != 1:
            raise InputError(
                f"inputs[0].data: expected one sample, of the shape {shape}", reason="shape"
            )
        return data[0]
    # numpy would give each of a million short texts as much room as the longest one takes.
    if len(data) != math.prod(expected) or not set(map(type, data)) <= {int, float}:
        raise InputError(
            f"inputs[0].data: expected the numbers of the shape {shape}", reason="shape"
        )
    return np.asarray(data, dtype=object).reshape(expected).tolist()


def _row(request: Mapping[str, Any], inputs: Any, table: Table) -> dict[str, Any]:
    """Return the row of a table in the inputs of a request.

    Raises:
        InputError: there are none, or they hold no row.
    """
    if not isinstance(inputs, list) or not inputs:
        raise InputError(
            "inputs: expected a list of inputs, with name, shape, datatype, data", reason="JSON"
        )
    binary, data = request.get(BINARY), None
    if isinstance(binary, tuple):  # One piece for each input, as gRPC has it; JSON has no tuples.
        inputs = [_with_data(i, *both) for i, both in enumerate(zip(inputs, binary, strict=True))]
    elif isinstance(binary, bytes) and binary.strip():
        if len(inputs) > 1 or not isinstance(inputs[0], dict):
            raise InputError("bytes after the JSON: expected them with one tensor", reason="binary")
        data = _binary_data(binary, inputs[0].get("parameters"), inputs[0].get("datatype"))
    return infer_row(inputs, table, NUMBERS, data)


def _with_data(index: int, tensor: Mapping[str, Any], raw: bytes) -> dict[str, Any]:
    """Return an input with its elements, which stood apart."""
    where, size = f"inputs[{index}]", {"binary_data_size": len(raw)}
    elements = _binary_data(raw, size, tensor["datatype"], where)
    return {**tensor, "data": elements}


def _binary_data(
    binary: bytes, parameters: Any, datatype: Any, where: str = "inputs[0]"
) -> list[Any]:
    """Return the elements of a tensor whose bytes follow the JSON.

    Raises:
        InputError: the bytes are not as many as the JSON says, or no such elements.
    """
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size != len(binary):
        raise InputError(
            f"{where}.parameters.binary_data_size: expected {len(binary)}, which is how many "
            "bytes follow the JSON",
            reason="binary",
        )
    if datatype == "BYTES":
        # Each element begins with its length.
        if int.from_bytes(binary[:4], "little") != len(binary) - 4:
            raise InputError(
                f"{where}: expected BYTES of one element, its length in 4 bytes before it",
                reason="binary",
            )
        return [binary[4:]]
    # Another datatype is refused later.
    dtype = np.dtype(NUMBERS.get(str(datatype), "u1"))
    if len(binary) % dtype.itemsize:
        raise InputError(
            f"{where}: {len(binary)} bytes, expected {dtype.itemsize} for each number of "
            f"{datatype}",
            reason="binary",
        )
    return list(np.frombuffer(binary, dtype).tolist())


def infer_response(
    request: Mapping[str, Any], served_as: tuple[str, str], answer: Answer, *, flag_in_body: bool
) -> dict[str, Any]:
    """Return a request's answer, or the refusal, in the form of the protocol.

    Args:
        request: what was asked.
        served_as: the model's name and version.
        answer: of the likeliest classes by their names, or a refusal.
        flag_in_body: whether the answer's body says what was flagged.
    """
    if answer.status != HTTPStatus.OK:
        return infer_error(request, served_as, answer.body)
    headers = answer.headers
    names = {"flagged": "x-fire-flagged", "repaired": "x-fire-repaired"}
    return infer_answer(
        request,
        served_as,
        answer.body["predictions"] if flag_in_body else answer.body,
        {name: headers[key] == "true" for name, key in names.items() if key in headers},
    )


def infer_answer(
    request: Mapping[str, Any],
    served_as: tuple[str, str],
    probabilities: Mapping[str, float],
    flags: Mapping[str, bool],
) -> dict[str, Any]:
    """Return the answer to an inference request.

    Args:
        request: what was asked.
        served_as: the model's name and version.
        probabilities: of the likeliest classes, by their names.
        flags: whether the sample was flagged and repaired, by name.

    Returns:
        The answer with the outputs `classes`, BYTES (1, k), `probabilities`, FP32 (1, k), and one
        BOOL (1,) for each flag.
    """
    shape = [1, len(probabilities)]
    return _response(request, served_as) | {
        "outputs": [
            _output("classes", "BYTES", shape, list(probabilities)),
            _output("probabilities", "FP32", shape, list(probabilities.values())),
            *(_output(name, "BOOL", [1], [flag]) for name, flag in flags.items()),
        ]
    }


def infer_error(
    request: Mapping[str, Any], served_as: tuple[str, str], refusal: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the answer to an inference request that is refused.

    Args:
        request: what was asked.
        served_as: the model's name and version.
        refusal: the handler's error body, with `code`, `type` and `message`.

    Returns:
        The answer with `error`, and the outputs `error`, BYTES (1,), and `code`, INT32 (1,).
    """
    text = f"{refusal['type']}: {refusal['message']}"
    return _response(request, served_as) | {
        "error": text,
        "outputs": [
            _output("error", "BYTES", [1], [text]),
            _output("code", "INT32", [1], [refusal["code"]]),
        ],
    }


def _response(request: Mapping[str, Any], served_as: tuple[str, str]) -> dict[str, Any]:
    identifier = request.get("id")
    return {
        "id": identifier if isinstance(identifier, str) else "",
        "model_name": served_as[0],
        "model_version": served_as[1],
    }


def _output(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}
