"""Version 1 of a signature's document: indented JSON, signed without the field of its signature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SignatureError
from .ed25519 import ALGORITHM, check_signed, parse_public_key
from .fields import Fields

FORMAT_VERSION = 1
KINDS = ("archive", "bundle")


def verify_version_1(
    values: Mapping[str, Any], data: bytes, trusted_keys: Sequence[str], source: str
) -> tuple[str, dict[str, str]]:
    """Check a signature's document of version 1.

    Args:
        values: of the document.
        data: the document.
        trusted_keys: public keys, one of which must have signed.
        source: the document's name, for messages.

    Returns:
        The kind of what was signed, and the SHA-256 of each file by its path.

    Raises:
        SignatureError: the document is damaged, signed by a key that is not trusted, or its
            signature is wrong; or the package `cryptography` is missing.
    """
    fields = Fields(values, source, SignatureError)
    version = fields.integer("format_version")
    if version != FORMAT_VERSION:
        raise SignatureError(
            f"{source}: format_version: {version}, expected {FORMAT_VERSION}, or an envelope"
        )
    fields.choice("algorithm", (ALGORITHM,))
    kind = fields.choice("kind", KINDS)
    key = parse_public_key(fields.raw("public_key"), fields.where("public_key"))
    signature = fields.text("signature")
    entries = fields.fields("files")
    files = {name: entries.sha256(name) for name in entries.names()}
    fields.finish()
    signed = {name: value for name, value in values.items() if name != "signature"}
    check_signed(_document_bytes(signed), signature, key, trusted_keys, source)
    # Else one signature could be written in many ways.
    if _document_bytes(values) != data:
        raise SignatureError(f"{source}: not in canonical form, as torchserve-fire wrote it")
    return kind, files


def _document_bytes(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, indent=2).encode("ascii") + b"\n"
