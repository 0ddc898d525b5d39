"""From the body of a request to the row of a table that it holds, as JSON or as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from ..errors import InputError
from ..format.table import Table
from .table_row import Row, cells_of_texts, checked_row

EXPECTED = "expected a JSON object with a value for each column, or CSV: a header and one row"

NAMES_EXPECTED = "expected the name of each column once"


def row_in_body(body: Any, table: Table, beside: Collection[str] = ()) -> Row:
    """Return the row in a request's body.

    Args:
        body: decoded JSON: an object with a value for each column; or bytes or text: such an
            object, or CSV with a header and one row.
        table: the columns.
        beside: columns that a row may have, and that the model does not take.

    Raises:
        InputError: there is no such row.
    """
    if isinstance(body, (bytes, bytearray)):
        try:
            body = body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"not text in UTF-8: {EXPECTED}", reason="CSV") from None
    if isinstance(body, str):
        if not body.strip():
            raise InputError(f"empty body: {EXPECTED}", reason="empty")
        if body.lstrip()[0] not in "{[":
            return _row_of_csv(body, table, beside)
        body = _decode_json(body)
    if not isinstance(body, dict):
        raise InputError(
            f"JSON {_kind(body)}: {EXPECTED}; one request holds one row", reason="JSON"
        )
    return checked_row(body, table, beside)


def rows_of_csv(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows below a header, each with the number of its line; blank lines are none.

    Raises:
        ValueError: a name stands twice in the header, a row has more or fewer cells than it, or the
            text is no CSV.
    """
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = [name.strip() for name in cells]
                if len(set(header)) < len(header):
                    raise ValueError(f"header: {_said_again(header)}")
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"line {reader.line_num}: {len(cells)} cells, expected {len(header)} as in the "
                    "header"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None


def _row_of_csv(text: str, table: Table, beside: Collection[str]) -> Row:
    rows = rows_of_csv(io.StringIO(text, newline=""))
    try:
        first, second = next(rows, None), next(rows, None)
    except ValueError as error:
        raise InputError(f"CSV: {error}", reason="CSV") from None
    if first is None or second is not None:
        found = "a header and no row" if first is None else "more than one row"
        raise InputError(
            f"CSV: {found}, expected a header with the names of the columns, and one row: one "
            "request holds one row",
            reason="CSV",
        )
    return checked_row(cells_of_texts(first[1], table), table, beside)


def _decode_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(f"not JSON: {EXPECTED}", reason="JSON") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        again = _said_again([name for name, _ in pairs])
        raise InputError(f"JSON object: {again}", reason="column")
    return record


def _said_again(names: Sequence[str]) -> str:
    """Say which name stands there twice, without what it is: a client may have sent it."""
    seen: dict[str, int] = {}
    for i, name in enumerate(names, 1):
        if name in seen:
            return f"column {i} is called as column {seen[name]} is, {NAMES_EXPECTED}"
        seen[name] = i
    return NAMES_EXPECTED


def _kind(value: Any) -> str:
    names = {list: "list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "number")
