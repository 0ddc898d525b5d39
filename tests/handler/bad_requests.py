"""Bad requests as TorchServe hands them over, each with the statuses that it may be answered with.

`MARKER` stands in many of them, and must not stand in any answer.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from tests.handler import damaged_images

from .archive import encode, grey

MARKER = "s3cret-c0ntent"
REFUSED = (400, 413, 422)
EITHER = (200, 400)


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        name: of the case.
        row: the fields of the request.
        statuses: of which its answer has one.
    """

    name: str
    row: dict[str, Any]
    statuses: tuple[int, ...]


MODE_STATUSES = {
    "tiff-F": (400,),
    "ppm-F": (400,),
    # Pillow 12 cannot read these where they are so small, not even what it wrote itself.
    "bmp-P": (200, 400),
    "tiff-YCbCr": (200, 400),
}
"""Of images of each format and mode, where they are not simply answered."""


def deep(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def cut_images() -> list[Case]:
    cases = []
    for name, data in damaged_images.formats().items():
        for part in (1, 2, 3, 4, 6, 7):
            cut = data[: len(data) * part // 8]
            cases.append(Case(f"cut-{name}-{part}/8", {"body": cut}, (400,)))
        cases.append(Case(f"cut-{name}-1-byte", {"data": data[:1]}, (400,)))
        cases.append(Case(f"cut-{name}-last-byte", {"data": data[:-1]}, EITHER))
        cases.append(Case(f"appended-{name}", {"body": data + b"<script>"}, (200,)))
    return cases


def flipped_images() -> list[Case]:
    return [
        Case(f"flipped-{name}-{seed}", {"body": damaged_images.flipped(data, seed)}, (*EITHER, 413))
        for name, data in damaged_images.formats().items()
        for seed in range(8)
    ]


def strange_images() -> list[Case]:
    cases = [Case(f"bomb-{k}", {"body": v}, (400, 413)) for k, v in damaged_images.bombs().items()]
    cases += [
        Case(f"no-pixels-{k}", {"body": v}, (400,))
        for k, v in damaged_images.without_pixels().items()
    ]
    cases += [
        Case(f"metadata-{k}", {"body": v}, EITHER) for k, v in damaged_images.metadata().items()
    ]
    cases += [
        Case(f"mode-{k}", {"body": v}, MODE_STATUSES.get(k, (200,)))
        for k, v in damaged_images.modes().items()
    ]
    cases += [
        Case(f"animated-{k}", {"body": v}, EITHER if k.endswith("-cut") else (200,))
        for k, v in damaged_images.animated().items()
    ]
    return cases


def no_images() -> list[Case]:
    text = MARKER.encode()
    bodies = {
        "empty": b"",
        "text": text,
        "zeros": bytes(100),
        "newlines": b"\r\n" * 50,
        "not-utf-8": b"\xff\xfe\xfd" + text,
        "utf-16": f'["{MARKER}"]'.encode("utf-16"),
        "byte-order-mark": b"\xef\xbb\xbf[1]",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "html": b"<html>" + text,
        "pdf": b"%PDF-1.7\n" + text,
        "zip": b"PK\x03\x04" + text,
        "pickle": b"\x80\x04\x8c\x05posix\x94",
        "xbm": b"#define a_width 9999\n#define a_height 9999\n",
        "ppm-token": b"P6 " + text + b" 1 255\n",
        "ppm-escape": b"P6 \x1b[31m 1 255\n",
        "ppm-long-token": b"P6 " + text * 20,
        "ppm-newline": b"P6 1\n\n\n\nx\n",
        "pfm-infinite": b"Pf\n1 1\ninf\n" + bytes(4),
        "tiff-header": b"MM\0*" + text,
        "gif-header": b"GIF89a",
        "riff-header": b"RIFF\xff\xff\xff\xffWEBP",
        "jpeg-header": b"\xff\xd8\xff" + text,
        "many-scans": b"\xff\xd8" + b"\xff\xda" * 100_000,
        "form": b"data=" + text,
        "json": json.dumps({"data": MARKER}).encode(),
        "json-cut": b'{"data": [[[0.1, 0.2',
        "json-key": json.dumps({MARKER: 1}).encode(),
        "json-deep": b"[" * 100_000,
        "json-deep-whole": b"[" * 20_000 + b"]" * 20_000,
        "json-deep-objects": b'{"data":' * 20_000,
        "json-long-number": b"[" + b"9" * 100_000 + b"]",
        "json-exponent": b'{"data": [1e999999]}',
    }
    return [Case(f"no-image-{k}", {"body": v}, (400,)) for k, v in bodies.items()]


def json_values() -> dict[str, Any]:
    """What is no sample of any model."""
    return {
        "null": None,
        "true": True,
        "number": 5,
        "float": 1.5,
        "nan": float("nan"),
        "huge": 10**400,
        "empty-object": {},
        "other-key": {MARKER: [0.0]},
        "two-keys": {"data": [0.0], MARKER: 1},
        "data-null": {"data": None},
        "data-number": {"data": 3},
        "data-object": {"data": {"data": [0.0]}},
        "data-text": {"data": MARKER},
        "instances": {"instances": [[0.0] * 12]},
        "inputs": {"inputs": [{"name": "x", "shape": [12], "data": [0.0] * 12}]},
        "empty-list": [],
        "too-few": [0.0] * 11,
        "too-many": [0.0] * 13,
        "one-more-dimension": [[0.0] * 12],
        "ragged": [[0.0, 1.0], [2.0], *[[3.0]] * 10],
        "mixed-depth": [0.0] * 11 + [[0.0]],
        "texts": [MARKER] * 12,
        "numbers-as-texts": ["1.0"] * 12,
        "long-text": ["x" * 1_000_000] + [""] * 20_000,
        "long-text-of-twelve": ["x" * 6_000_000] + [""] * 11,
        "nulls": [None] * 12,
        "booleans": [True] * 12,
        "objects": [{MARKER: 1}] * 12,
        "lists": [[]] * 12,
        "many-lists": [[] for _ in range(200_000)],
        "nans": [float("nan")] * 12,
        "infinities": [float("inf")] * 12,
        "minus-infinity": [0.0] * 11 + [float("-inf")],
        "too-large-for-float32": [0.0] * 11 + [1e39],
        "too-large-for-float64": [0] * 11 + [10**400],
        "deep": deep(5000),
        "deep-object": {"data": deep(900)},
        "bytes": {"data": b"\xff"},
    }


def json_requests() -> list[Case]:
    return [Case(f"json-{k}", {"body": v}, (400,)) for k, v in json_values().items()]


def text_requests() -> list[Case]:
    whole = base64.b64encode(grey(0)).decode()
    bodies = {
        "empty": "",
        "spaces": "   \n\t ",
        "marker": MARKER,
        "accents": "é" * 50,
        "surrogate": "\ud800abcd",
        "null-byte": "\0\0\0\0",
        "padding-lacks": whole.rstrip("=")[:-1],
        "padding-only": "====",
        "padding-within": whole[:40] + "==" + whole[40:],
        "url-alphabet": "_-_-" + whole,
        "star": whole[:50] + "*" + whole[51:],
        "cut": whole[: len(whole) // 8 * 4],
        "twice-encoded": base64.b64encode(whole.encode()).decode(),
        "data-url-empty": "data:image/png;base64,",
        "data-url-no-comma": "data:image/png;base64",
        "data-url-not-base64": f"data:text/plain,{MARKER}",
        "data-url-of-text": "data:text/plain;base64,aGVsbG8=",
        "data-url-twice": f"data:image/png;base64,data:image/png;base64,{whole}",
        "link": f"http://127.0.0.1/{MARKER}.png",
        "file": f"file:///{MARKER}",
        "percent": "%89PNG",
    }
    cases = [Case(f"text-{k}", {"body": v}, (400,)) for k, v in bodies.items()]
    cases += [Case(f"data-text-{k}", {"body": {"data": v}}, (400,)) for k, v in bodies.items()]
    return cases


def field_requests() -> list[Case]:
    """Forms: each field of a request is an entry of its row."""
    rows: dict[str, dict[str, Any]] = {
        "none": {},
        "other": {MARKER: grey(0)},
        "capital": {"Data": grey(0)},
        "newline": {"data\n": grey(0)},
        "empty-name": {"": grey(0)},
        "two-others": {"image": grey(0), "file": b""},
        "null-data": {"data": None, "body": grey(0)},
        "empty-data": {"data": b"", "body": grey(0)},
        "wrong-data": {"data": MARKER.encode(), "body": grey(0)},
        "describe": {"describe": b"True"},
        "memory": {"data": memoryview(grey(0))},
        "tuple": {"data": (1, 2)},
    }
    return [Case(f"fields-{k}", row, (400,)) for k, row in rows.items()]


IMAGE_CASES = [
    *cut_images(),
    *flipped_images(),
    *strange_images(),
    *no_images(),
    *json_requests(),
    *text_requests(),
    *field_requests(),
    Case("overflow", {"body": [[[3e38] * 2] * 2] * 3}, (422,)),
]
TENSOR_CASES = [
    *json_requests(),
    *field_requests(),
    *no_images(),
    Case("overflow", {"body": [3e38] * 12}, (422,)),
    Case("image", {"body": grey(0)}, (400,)),
    Case("text", {"body": base64.b64encode(encode(damaged_images.noise())).decode()}, (400,)),
    Case("text-list", {"body": "[0, 1]"}, (400,)),
    Case("text-surrogate", {"body": "\ud800"}, (400,)),
    Case("text-nan", {"body": json.dumps([float("nan")] * 12)}, (400,)),
]
