"""A table for the tiny archive: three columns of their own kinds, and eight plain numbers.

A row becomes the 12 numbers that the model sums: `log(1 + size)`, a one for the kind, the rest as
they are. So a row of zeros has the sum 1 and is class 1; with a 10 in it, it is flagged as class 0,
and repaired.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import parse_config

NUMBERS = [f"n{i}" for i in range(1, 9)]
TABLE = {
    "input": "table",
    "columns": [
        {"name": "size", "log": True, "missing": 0},
        {"name": "kind", "values": ["x", "y", 2]},
        *({"name": name} for name in NUMBERS),
    ],
    "label_column": "class",
    "id_column": "id",
}
DESCRIBED: InputDescription = parse_config({"handler": TABLE}).describe_input()
GOOD = {"size": 0, "kind": "x", **dict.fromkeys(NUMBERS, 0)}
FLAGGED = {**GOOD, "n1": 10}
JSON, CSV, BYTES = "application/json", "text/csv", "application/octet-stream"


@dataclass(frozen=True)
class TableCase:
    """One bad request.

    Attributes:
        content: the body.
        content_type: its media type.
        says: what its refusal says.
    """

    content: bytes
    content_type: str
    says: str

    @property
    def body(self) -> Any:
        """The body as TorchServe hands it over."""
        try:
            if self.content_type == JSON:
                return json.loads(self.content.decode())
            if self.content_type == CSV:
                return self.content.decode()
        except (ValueError, RecursionError):
            pass
        return bytearray(self.content)


def csv_of(record: dict[str, Any]) -> bytes:
    """Return a record as CSV without quotes."""
    return f"{','.join(record)}\n{','.join(map(str, record.values()))}\n".encode()


def _json(says: str, **changed: Any) -> TableCase:
    return TableCase(json.dumps({**GOOD, **changed}).encode(), JSON, says)


def _raw(says: str, text: str, column: str = "n1") -> TableCase:
    """A record with JSON text in the place of a value, which JSON writers do not write."""
    return TableCase(json.dumps({**GOOD, column: "@"}).replace('"@"', text).encode(), JSON, says)


def _body(says: str, text: str | bytes, content_type: str = JSON) -> TableCase:
    return TableCase(text if isinstance(text, bytes) else text.encode(), content_type, says)


def _csv(says: str, **changed: Any) -> TableCase:
    return TableCase(csv_of({**GOOD, **changed}), CSV, says)


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


def _infer(says: str, *inputs: Any) -> TableCase:
    return TableCase(json.dumps({"inputs": list(inputs)}).encode(), JSON, says)


def named(**changed: Any) -> list[dict[str, Any]]:
    """Return an input of the Open Inference Protocol for each column of a good row."""
    return [
        {
            "name": name,
            "shape": [1],
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "data": [value],
        }
        for name, value in {**GOOD, **changed}.items()
    ]


def _named(says: str, place: int, **changed: Any) -> TableCase:
    inputs = named()
    inputs[place] |= changed
    return _infer(says, *inputs)


ROW = csv_of(GOOD).decode()
HEADER, LINE = ROW.splitlines()
CASES: dict[str, TableCase] = {
    "empty": _body("empty body", "", BYTES),
    "spaces": _body("empty body", "  \n ", CSV),
    "json-no-columns": _body("kind: missing", "{}"),
    "json-without-number": _body("n3: missing", json.dumps(_without("n3"))),
    "json-without-category": _body("kind: missing", json.dumps(_without("kind"))),
    "json-null-number": _json("n1: missing", n1=None),
    "json-null-category": _json("kind: missing", kind=None),
    "json-empty-number": _json("n1: missing", n1=""),
    "json-empty-category": _json("kind: missing", kind=" "),
    "json-unknown-column": _json("column 11: unknown name", other=1),
    "json-nearly-a-column": _json("the nearest is size", sise=1),
    "json-column-in-capitals": _json("unknown name", N1=0),
    "json-column-with-space": _json("the nearest is n1", **{"n1 ": 0}),
    "json-column-surrogate": _body("unknown name", '{"\\ud800": 1}'),
    "json-column-twice": _body("column 2 is called as column 1", '{"n1": 1, "n1": 2}', BYTES),
    "json-list": _body("JSON list", json.dumps(list(GOOD.values()))),
    "json-list-of-a-record": _body("one request holds one row", json.dumps([GOOD])),
    "json-list-of-records": _body("one request holds one row", json.dumps([GOOD, GOOD])),
    "json-number": _body("JSON number", "3"),
    "json-text": _body("header and no row", '"x"'),
    "json-true": _body("JSON true or false", "true"),
    "json-null": _body("JSON null", "null"),
    "json-data": _body("column 1: unknown name", json.dumps({"data": GOOD})),
    "json-instances": _body("column 1: unknown name", json.dumps({"instances": [GOOD]})),
    "json-number-as-text": _json("n1: expected a number", n1="3"),
    "json-word": _json("n1: expected a number", n1="three"),
    "json-true-as-number": _json("n1: expected a number", n1=True),
    "json-list-as-number": _json("n1: expected a number", n1=[1]),
    "json-object-as-number": _json("n1: expected a number", n1={"a": 1}),
    "json-nan": _raw("n1: expected a finite number", "NaN"),
    "json-infinity": _raw("n1: expected a finite number", "Infinity"),
    "json-minus-infinity": _raw("n1: expected a finite number", "-Infinity"),
    "json-too-large": _raw("n1: expected a finite number", "1e999"),
    "json-400-digits": _raw("n1: expected a finite number", "9" * 400),
    "json-5000-digits": _raw("not JSON", "9" * 5000),
    "json-beyond-float32": _raw("float32 can hold", "1e300"),
    "json-below-float32": _raw("float32 can hold", "-1e300"),
    "json-log-of-zero": _json("size: expected more than -1", size=-1),
    "json-log-of-less": _json("size: expected more than -1", size=-5.5),
    "json-unknown-category": _json("kind: expected one of 3 categories", kind="zebra"),
    "json-category-in-capitals": _json("kind: expected one of 3 categories", kind="X"),
    "json-category-with-fraction": _json("kind: expected a category", kind=2.0),
    "json-category-true": _json("kind: expected a category", kind=True),
    "json-category-list": _json("kind: expected a category", kind=["x"]),
    "json-category-huge": _raw("kind: expected a category", "9" * 400, "kind"),
    "json-category-surrogate": _raw("kind: expected one of 3", '"\\ud800"', "kind"),
    "json-category-long": _json("kind: expected one of 3", kind="x" * 100_000),
    "json-cut": _body("not JSON", json.dumps(GOOD)[:-5]),
    "json-more-behind": _body("not JSON", json.dumps(GOOD) + "}"),
    "json-two-lines": _body("not JSON", json.dumps(GOOD) + "\n" + json.dumps(GOOD)),
    "json-single-quotes": _body("not JSON", str(GOOD)),
    "json-deep": _body("not JSON", '{"n1":' + "[" * 100_000),
    "json-deep-whole": _body("not JSON", "[" * 100_000 + "]" * 100_000),
    "json-utf-16": _body("UTF-8", json.dumps(GOOD).encode("utf-16")),
    "json-latin-1": _body("UTF-8", '{"größe": 1}'.encode("latin-1")),
    "csv-header-alone": _body("a header and no row", HEADER, CSV),
    "csv-row-alone": _body("expected the name of each column once", LINE, CSV),
    "csv-two-rows": _body("more than one row", f"{ROW}{LINE}\n", CSV),
    "csv-column-twice": _body("column 2 is called as column 1", "n1,n1\n1,2\n", CSV),
    "csv-column-missing": _body("n8: missing", csv_of(_without("n8")), CSV),
    "csv-column-unknown": _csv("column 11: unknown name", other=1),
    "csv-short-row": _body("9 cells, expected 10", f"{HEADER}\n{LINE[:-2]}\n", CSV),
    "csv-long-row": _body("11 cells, expected 10", f"{HEADER}\n{LINE},0\n", CSV),
    "csv-decimal-comma": _csv("11 cells, expected 10", n1="1,5"),
    "csv-semicolons": _body("column 1: unknown name", ROW.replace(",", ";"), CSV),
    "csv-tabs": _body("column 1: unknown name", ROW.replace(",", "\t"), CSV),
    "csv-word": _csv("n1: expected a number", n1="abc"),
    "csv-nan": _csv("n1: expected a number", n1="nan"),
    "csv-infinity": _csv("n1: expected a number", n1="inf"),
    "csv-underscore": _csv("n1: expected a number", n1="1_000"),
    "csv-hexadecimal": _csv("n1: expected a number", n1="0x10"),
    "csv-percent": _csv("n1: expected a number", n1="5%"),
    "csv-two-signs": _csv("n1: expected a number", n1="+-3"),
    "csv-other-digits": _csv("n1: expected a number", n1="١٢"),
    "csv-true": _csv("n1: expected a number", n1="True"),
    "csv-too-large": _csv("n1: expected a finite number", n1="1e999"),
    "csv-empty-cell": _csv("n1: missing", n1=""),
    "csv-empty-category": _csv("kind: missing", kind=""),
    "csv-unknown-category": _csv("kind: expected one of 3 categories", kind="zebra"),
    "csv-open-quote": _body("line", f'{HEADER}\n"{LINE}', CSV),
    "csv-quote-within": _csv("line", n1='"1"2'),
    "csv-long-cell": _csv("field larger than field limit", kind="x" * 200_000),
    "csv-not-utf-8": _body("UTF-8", HEADER.encode() + b"\n\xff\xfe", BYTES),
    "csv-null": _csv("n1: expected a number", n1="\0"),
    "infer-no-inputs": _infer("inputs: expected a list"),
    "infer-no-object": _infer("inputs: expected objects", 3),
    "infer-one-tensor-of-words": _infer(
        "the column kind is no number",
        {"name": "row", "shape": [1, 10], "datatype": "FP64", "data": [0] * 10},
    ),
    "infer-column-missing": _infer("n8: missing", *named()[:-1]),
    "infer-column-unknown": _infer("unknown name", *named(other=1)),
    "infer-column-twice": _infer("each once", *named(), named()[0]),
    "infer-no-name": _named("name of a column", 0, name=None),
    "infer-two-rows": _named("one row per request", 0, shape=[2], data=[1, 2]),
    "infer-two-values": _named("a list of one value", 0, data=[1, 2]),
    "infer-no-data": _named("a list of one value", 0, data=None),
    "infer-unknown-datatype": _named("datatype: expected one of", 0, datatype="FP8"),
    "infer-text-as-number": _named("expected a number", 0, data=["3"]),
    "infer-number-as-text": _named("expected a text", 1, data=[3]),
    "infer-bytes-for-number": _named("size: expected a number", 0, datatype="BYTES", data=["3"]),
    "infer-fraction-for-category": _named("a category", 1, datatype="FP64", data=[2.5]),
    "infer-unknown-category": _named("one of 3 categories", 1, data=["zebra"]),
}
