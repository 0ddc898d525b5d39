"""Signatures in the form of version 1, which nothing else writes any more."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchserve_fire_build.signing.signing_key import public_key_of


def document_version_1(values: Mapping[str, Any]) -> bytes:
    """Return the only bytes in which a document is written."""
    return json.dumps(values, sort_keys=True, indent=2).encode("ascii") + b"\n"


def sign_version_1(kind: str, files: Mapping[str, str], key: Ed25519PrivateKey) -> bytes:
    """Return the document that signs files."""
    values = {
        "format_version": 1,
        "algorithm": "Ed25519",
        "kind": kind,
        "public_key": public_key_of(key),
        "files": dict(files),
    }
    signature = key.sign(document_version_1(values))
    return document_version_1({**values, "signature": base64.b64encode(signature).decode()})
