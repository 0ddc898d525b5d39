"""The worst of bad requests, as bytes, since a client's library would refuse to send most of them.

The statuses are TorchServe's; `OTHERWISE` has those of servers that take a request otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tests.handler import damaged_images
from tests.tiny import image

from .archive import MODEL

PREDICTIONS = f"/predictions/{MODEL}".encode()
GOOD = image(1)
JSON = b"Content-Type: application/json"
TEXT = b"Content-Type: text/plain"
PARTS = b"Content-Type: multipart/form-data; boundary=XX"
FORM = b"Content-Type: application/x-www-form-urlencoded"
CHUNKED = b"Transfer-Encoding: chunked"
DATA = b'Content-Disposition: form-data; name="data"'

# What TorchServe's own front end makes of a form that it cannot read, before any worker sees it.
FRONT_END = (500,)


@dataclass(frozen=True)
class Request:
    """One request, without what a client must send besides and, unless `length`, its length."""

    statuses: tuple[int, ...]
    body: bytes = GOOD
    headers: tuple[bytes, ...] = ()
    path: bytes = PREDICTIONS
    method: bytes = b"POST"
    length: bool = True

    def to_bytes(self, predict_path: str, headers: Mapping[str, str]) -> bytes:
        """Return what is sent.

        Args:
            predict_path: where the server takes predictions.
            headers: what a client must send besides.
        """
        path = self.path.replace(PREDICTIONS, predict_path.encode())
        lines = [self.method + b" " + path + b" HTTP/1.1", b"Host: localhost"]
        lines += [f"{name}: {value}".encode() for name, value in headers.items()]
        lines += self.headers
        if self.length:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def parts(*fields: tuple[bytes, bytes]) -> bytes:
    """A multipart body of fields, each with its headers."""
    body = b"".join(b"--XX\r\n" + head + b"\r\n\r\n" + value + b"\r\n" for head, value in fields)
    return body + b"--XX--\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"


BOMBS = damaged_images.bombs()
LONG_TEXT = json.dumps(["x" * 1_000_000] + [""] * 20_000).encode()
REQUESTS = {
    "header-folded": Request((200,), headers=(b"X-A: a\r\n b",)),
    "header-newline": Request((200, 400), headers=(b"X-A: a\nX-B: b",)),
    "header-return": Request((400,), headers=(b"X-A: a\rX-B: b",)),
    "header-null": Request((400,), headers=(b"X-A: a\0b",)),
    "header-bytes": Request((200, 400), headers=(b"X-A: \xff\xfe",)),
    "header-name-bytes": Request((400,), headers=(b"X\xff: a",)),
    "header-name-space": Request((400,), headers=(b"X A: b",)),
    "header-no-name": Request((400,), headers=(b": a",)),
    "header-no-colon": Request((400,), headers=(b"abc",)),
    "header-long": Request((400, 431), headers=(b"X-A: " + b"x" * 100_000,)),
    "headers-many": Request((200,), headers=tuple(b"X-%d: a" % k for k in range(300))),
    "header-describe": Request((200,), headers=(b"describe: True",)),
    "header-explain": Request((200,), headers=(b"explain: True",)),
    "header-describe-empty": Request((400,), b"", (b"describe: True",)),
    "header-request-id": Request((200,), headers=(b"x-request-id: \xff",)),
    "length-negative": Request((400,), headers=(b"Content-Length: -1",), length=False),
    "length-word": Request((400,), headers=(b"Content-Length: abc",), length=False),
    "length-twice": Request((400,), headers=(b"Content-Length: 5",)),
    "length-huge": Request((413,), headers=(b"Content-Length: 99999999999",), length=False),
    "length-too-short": Request((400,), headers=(b"Content-Length: 40",), length=False),
    "length-and-chunks": Request((400,), chunk(b"abcde"), (CHUNKED,)),
    "chunks": Request((200,), chunk(GOOD), (CHUNKED,), length=False),
    "chunks-of-nothing": Request((400,), b"0\r\n\r\n", (CHUNKED,), length=False),
    "chunk-size-word": Request((400,), b"zz\r\nabc\r\n0\r\n\r\n", (CHUNKED,), length=False),
    "empty": Request((400,), b""),
    "no-length": Request((400,), b"", length=False),
    "too-large": Request((413,), b"x" * 7_000_000),
    "json-cut": Request((400,), b'{"data', (JSON,)),
    "json-deep": Request((400,), b"[" * 100_000, (JSON,)),
    "json-deep-whole": Request((400,), b"[" * 100_000 + b"]" * 100_000, (JSON,)),
    "json-nan": Request((400,), b"[NaN]", (JSON,)),
    "json-surrogate": Request((400,), b'"\\ud800"', (JSON,)),
    "json-surrogate-key": Request((400,), b'{"\\ud800": 1}', (JSON,)),
    "json-long-number": Request((400,), b"9" * 5000, (JSON,)),
    "json-long-text": Request((400,), LONG_TEXT, (JSON,)),
    "json-utf-16": Request((400,), "[1]".encode("utf-16"), (JSON,)),
    "json-null": Request((400,), b"null", (JSON,)),
    "json-other-protocol": Request((400,), b'{"inputs": [{"data": [1]}]}', (JSON,)),
    "text": Request((400,), b"hello\nworld", (TEXT,)),
    "text-not-utf-8": Request((400,), b"\xff\xfe", (TEXT,)),
    "type-bytes": Request((200, 400), headers=(b"Content-Type: \xff\xfe",)),
    "type-empty": Request((200,), headers=(b"Content-Type:",)),
    "type-junk": Request((200,), headers=(b"Content-Type: ;;;=,",)),
    "type-says-compressed": Request((200,), headers=(b"Content-Encoding: gzip",)),
    "parts-one": Request((200,), parts((DATA, GOOD)), (PARTS,)),
    "parts-several": Request(
        (400,), parts((DATA, b"x"), (DATA, b"y"), (DATA[:-5] + b'body"', GOOD)), (PARTS,)
    ),
    "parts-many": Request(
        (400,), parts(*((DATA[:-2] + b'%d"' % k, b"") for k in range(500))), (PARTS,)
    ),
    "parts-name-bytes": Request((400,), parts((DATA[:-5] + b'\xff\xfe"', b"x")), (PARTS,)),
    "parts-json-cut": Request((400,), parts((DATA + b"\r\n" + JSON, b'{"a":')), (PARTS,)),
    "parts-cut": Request((400,), parts((DATA, b"x" * 500))[:200], (PARTS,)),
    "parts-none": Request((400,), b"", (PARTS,)),
    **{
        f"parts-none-described-{name}": Request((400,), b"", (PARTS, b"describe: True"), path)
        for name, path in {
            "prediction": PREDICTIONS,
            "explanation": b"/explanations/%s" % MODEL.encode(),
            "invocation": b"/invocations?model_name=%s" % MODEL.encode(),
            "v1": b"/v1/models/%s:predict" % MODEL.encode(),
            "v2": b"/v2/models/%s/infer" % MODEL.encode(),
        }.items()
    },
    "parts-no-boundary": Request((400,), b"abc", (b"Content-Type: multipart/form-data",)),
    "parts-no-name": Request(FRONT_END, parts((b"Content-Disposition: form-data", b"x")), (PARTS,)),
    "parts-no-headers": Request(FRONT_END, parts((b"X: y", b"x")), (PARTS,)),
    "parts-charset": Request(
        FRONT_END, parts((DATA + b"\r\n" + TEXT + b"; charset=nonsense", b"x")), (PARTS,)
    ),
    "form": Request((400,), b"data=abc", (FORM,)),
    "form-bytes": Request((400,), b"%ff=%fe", (FORM,)),
    "form-wrong-escape": Request(FRONT_END, b"data=%zz", (FORM,)),
    "query-newline": Request((200,), path=PREDICTIONS + b"?a=%0d%0ab&c=%ff"),
    "query-data": Request((400,), b"", path=PREDICTIONS + b"?data=abc"),
    "path-null": Request((404,), path=b"/predictions/%00"),
    "path-up": Request((404,), path=b"/predictions/../../etc/passwd"),
    "version-newline": Request((404,), path=PREDICTIONS + b"/1.0%0a"),
    "method-unknown": Request((200, 400, 405), method=b"BREW"),
    **{f"bomb-{name}": Request((400, 413), body) for name, body in BOMBS.items()},
}

NOT_A_FORM = (400,)
OTHERWISE = {
    # A header folded into a second line was dropped from HTTP/1.1.
    "header-folded": (400,),
    "header-long": (200,),
    # Forms are bodies like any other.
    "parts-one": NOT_A_FORM,
    "parts-no-name": NOT_A_FORM,
    "parts-no-headers": NOT_A_FORM,
    "parts-charset": NOT_A_FORM,
    "form-wrong-escape": NOT_A_FORM,
    "parts-none-described-explanation": (404,),
    "parts-none-described-invocation": (404,),
    # Of a request's identifier that is no ASCII, Ray Serve itself makes a 500.
    "header-request-id": (200, 500),
}
"""Where the status is not TorchServe's."""
