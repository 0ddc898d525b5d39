"""Requests of the Open Inference Protocol, good ones and bad ones."""

from __future__ import annotations

import json
from typing import Any


def asking(shape, datatype, data, **fields) -> dict:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return {"body": {"inputs": [tensor]} | fields}


def with_binary(shape, datatype, binary, *, size=None, **fields) -> bytes:
    """A request's body with the tensor after the JSON, as tritonclient sends it by default."""
    parameters = {"binary_data_size": len(binary) if size is None else size}
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": parameters}
    return json.dumps({"inputs": [tensor]} | fields, ensure_ascii=False).encode() + binary


def one_element(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


BAD_INPUTS: list[tuple[Any, str]] = [
    (None, "expected a list of one input"),
    ([], "expected a list of one input"),
    ([{}, {}], "expected a list of one input"),
    ([3], "expected a list of one input"),
    ([{"shape": [12], "datatype": "FP32"}], "expected a list; raw_input_contents"),
    ([{"shape": [12], "datatype": "FP32", "data": []}], "raw_input_contents do not come"),
    ([{"shape": [1], "datatype": "BYTES", "data": ["a", "b"]}], "expected one image"),
    ([{"shape": [1], "datatype": "BYTES", "data": [1]}], "expected one image"),
    ([{"shape": [12], "datatype": ["FP32"], "data": [1]}], "expected BYTES or one of"),
    ([{"shape": [12], "datatype": "BF16", "data": [1]}], "expected BYTES or one of"),
    ([{"shape": [2, 12], "datatype": "FP32", "data": [1] * 24}], "one sample per request"),
    ([{"shape": [1, 12], "datatype": "FP32", "data": [[1] * 12] * 2}], "expected one sample"),
    ([{"shape": "12", "datatype": "FP32", "data": [1] * 12}], "expected [12], or [1, 12]"),
    ([{"shape": [12], "datatype": "FP32", "data": [1] * 11}], "expected the numbers of"),
    ([{"shape": [12], "datatype": "FP32", "data": ["1"] * 12}], "expected the numbers of"),
]
"""What stands under `inputs` of a bad request to a model of 12 numbers, and why it is refused."""

OTHER_SHAPES = [[[1], [1, 2]], [[1] * 11], [[1] * 12, [1] * 12], [["1"] * 12]]
"""Nested numbers that are not 12."""
