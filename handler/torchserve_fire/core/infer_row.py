"""The row of a table in a request of the Open Inference Protocol: one tensor, or named columns."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..format.table import CategoryColumn, Table

TEXT = "BYTES"


def infer_row(
    inputs: Sequence[Any], table: Table, numbers: Collection[str], data: list[Any] | None = None
) -> dict[str, Any]:
    """Return the row in the inputs of a request, as `checked_row` takes it.

    Args:
        inputs: one tensor of all numbers, in the order of the columns, of the shape (columns,) or
            (1, columns); or an input for each column by its name, of the shape (1,) or (1, 1),
            whose datatype is BYTES for texts.
        table: the columns.
        numbers: the datatypes of numbers.
        data: that of the one input, where it is not in the JSON.

    Raises:
        InputError: they are no such row.
    """
    if not all(isinstance(each, dict) for each in inputs):
        raise InputError("inputs: expected objects with name, shape, datatype, data", reason="JSON")
    only, count = inputs[0], len(table.columns)
    if len(inputs) == 1 and (
        only.get("name") not in table.by_name
        or (count > 1 and only.get("shape") in ([count], [1, count]))
    ):
        return _row_of_tensor(only, table, numbers, data)
    row: dict[str, Any] = {}
    for i, each in enumerate(inputs):
        name = each.get("name")
        if not isinstance(name, str) or name in row:
            raise InputError(
                f"inputs[{i}].name: expected the name of a column, each once",
                reason="column",
            )
        row[name] = _cell(each, f"inputs[{i}]", table, numbers)
    return row


def _row_of_tensor(
    tensor: Mapping[str, Any], table: Table, numbers: Collection[str], data: list[Any] | None
) -> dict[str, Any]:
    """Return the row in one tensor of numbers, (columns,) or (1, columns)."""
    count = len(table.columns)
    words = next((x.name for x in table.columns if isinstance(x, CategoryColumn)), None)
    if words is not None:
        raise InputError(
            f"inputs[0]: one tensor, and the column {words} is no number: expected an input for "
            "each column, by its name",
            reason="column",
        )
    _check_datatype(tensor, "inputs[0]", numbers)
    if tensor.get("shape") not in ([count], [1, count]):
        raise InputError(
            f"inputs[0].shape: expected {[count]}, or {[1, count]}: a number for each column, or "
            "an input for each, by its name",
            reason="shape",
        )
    values = tensor.get("data") if data is None else data
    if isinstance(values, list) and len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    if not isinstance(values, list) or len(values) != count:
        raise InputError(f"inputs[0].data: expected a list of {count} numbers", reason="shape")
    return dict(zip(table.by_name, values, strict=True))


def _cell(value: Mapping[str, Any], where: str, table: Table, numbers: Collection[str]) -> Any:
    """Return the one value of a column's input."""
    _check_datatype(value, where, (*numbers, TEXT))
    data = value.get("data")
    if value.get("shape") not in ([1], [1, 1]):
        raise InputError(
            f"{where}.shape: expected [1], or [1, 1]: one row per request", reason="shape"
        )
    if isinstance(data, list) and len(data) == 1 and isinstance(data[0], list):
        data = data[0]
    if not isinstance(data, list) or len(data) != 1:
        raise InputError(f"{where}.data: expected a list of one value", reason="shape")
    cell = data[0]
    is_text = value.get("datatype") == TEXT
    if is_text and isinstance(cell, bytes):
        # As other servers than TorchServe have it over gRPC.
        return _decoded(cell, where)
    if is_text != isinstance(cell, str):
        expected = "a text" if is_text else "a number"
        raise InputError(f"{where}.data: expected {expected}, as its datatype says", reason="type")
    column = table.by_name.get(str(value.get("name")))
    return _as_sent(cell, column) if isinstance(column, CategoryColumn) and is_text else cell


def _decoded(text: bytes, where: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise InputError(f"{where}.data: expected a text in UTF-8", reason="type") from None


def _as_sent(text: str, column: CategoryColumn) -> str:
    """Return a category as it was sent: over gRPC, TorchServe makes base64 of it."""
    if text in column.places:
        return text
    try:
        sent = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text
    return sent if sent in column.places else text


def _check_datatype(tensor: Mapping[str, Any], where: str, known: Collection[str]) -> None:
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in known:
        raise InputError(f"{where}.datatype: expected one of {', '.join(known)}", reason="JSON")
