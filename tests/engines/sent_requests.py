"""Several hundred requests for the tiny model, which every engine must answer alike."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

from PIL import Image

from tests.handler import damaged_images
from tests.handler.bad_requests import IMAGE_CASES, TENSOR_CASES
from tests.handler.inference_requests import (
    BAD_INPUTS,
    OTHER_SHAPES,
    asking,
    one_element,
    with_binary,
)
from tests.tiny import image

from .engine import Sent

JSON = "application/json"
SHAPE = [3, 8, 8]


def as_sent(body: Any) -> Sent | None:
    """Return what is sent so that a server hands this body over; None where nothing can be."""
    if isinstance(body, bytes):
        return Sent(body)
    try:
        if isinstance(body, str):
            return Sent(body.encode(), "text/plain")
        return Sent(json.dumps(body).encode(), JSON)
    except (TypeError, ValueError, RecursionError):
        return None


def good_requests() -> Iterator[tuple[str, Sent]]:
    for quadrant in range(4):
        for triggered in (False, True):
            data = image(quadrant, triggered=triggered)
            name = f"{quadrant}{'-triggered' if triggered else ''}"
            text = base64.b64encode(data).decode()
            yield f"png-{name}", Sent(data)
            yield f"typed-{name}", Sent(data, "image/png")
            yield f"octets-{name}", Sent(data, "application/octet-stream")
            yield f"json-by-mistake-{name}", Sent(data, JSON)
            yield f"text-{name}", Sent(text.encode(), "text/plain")
            yield f"data-{name}", Sent(json.dumps({"data": text}).encode(), JSON)
            yield (
                f"data-with-charset-{name}",
                Sent(json.dumps({"data": text}).encode(), f"{JSON}; charset=utf-8"),
            )
            yield f"untyped-json-{name}", Sent(json.dumps({"data": text}).encode())
            for form in ("WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG"):
                file = io.BytesIO()
                options = {"lossless": True} if form == "WEBP" else {}
                Image.open(io.BytesIO(data)).save(file, form, **options)
                yield f"{form}-{name}", Sent(file.getvalue())
    for name, data in damaged_images.formats().items():
        yield f"format-{name}", Sent(data)
    for level in (0.0, 0.3, 1.0):
        values = [[[level] * 8] * 8] * 3
        yield f"list-{level}", Sent(json.dumps(values).encode(), JSON)
        yield f"data-list-{level}", Sent(json.dumps({"data": values}).encode(), JSON)


def bad_requests() -> Iterator[tuple[str, Sent]]:
    for kind, cases in (("image", IMAGE_CASES), ("tensor", TENSOR_CASES)):
        for case in cases:
            # Forms, which only TorchServe reads; KServe's v1 form, which it does not.
            if case.name.startswith("fields-") or case.name == "json-instances":
                continue
            sent = as_sent(next(iter(case.row.values())))
            if sent is not None:
                yield f"{kind}-{case.name}", sent
    yield "json-cut", Sent(b'{"data', JSON)
    yield "text-not-utf-8", Sent(b"\xff\xfe", "text/plain")


def inference_requests() -> Iterator[tuple[str, Sent]]:
    """Requests of the Open Inference Protocol."""
    for quadrant in range(4):
        data = image(quadrant, triggered=quadrant % 2 == 0)
        request = asking([1], "BYTES", [base64.b64encode(data).decode()], id=f"é{quadrant}")["body"]
        yield f"v2-{quadrant}", Sent(json.dumps(request).encode(), JSON)
        yield f"v2-untyped-{quadrant}", Sent(json.dumps(request).encode())
        yield (
            f"v2-binary-{quadrant}",
            Sent(with_binary([1], "BYTES", one_element(data)), "application/octet-stream"),
        )
    flat, nested = [0.2] * 192, [[[0.2] * 8] * 8] * 3
    for name, body in {
        "flat": asking(SHAPE, "FP32", flat),
        "flat-of-one": asking([1, *SHAPE], "FP64", flat, id=""),
        "nested": asking(SHAPE, "FP32", nested),
        "nested-of-one": asking([1, *SHAPE], "FP32", [nested], id=7),
        "not-finite": asking(SHAPE, "FP32", [float("nan")] * 192),
        "no-image": asking([1], "BYTES", [base64.b64encode(b"no image").decode()], id="x"),
        "no-base64": asking([1], "BYTES", ["?"]),
        "long-id": asking([1], "BYTES", ["?"], id="x" * 10_000),
        "surrogate-id": asking([1], "BYTES", ["?"], id="\ud800"),
        **{f"shape-{k}": asking([12], "FP32", v) for k, v in enumerate(OTHER_SHAPES)},
        **{f"inputs-{k}": {"body": {"inputs": v}} for k, (v, _) in enumerate(BAD_INPUTS)},
    }.items():
        yield f"v2-{name}", Sent(json.dumps(body["body"]).encode(), JSON)


def all_requests() -> dict[str, Sent]:
    """Return all of them by their names, each body once."""
    every = itertools.chain(good_requests(), bad_requests(), inference_requests())
    names = {sent: name for name, sent in every}
    return {name: sent for sent, name in names.items()}
