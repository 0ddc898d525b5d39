"""Ed25519 signatures of files: a small JSON document that names each file's SHA-256.

A key is written as the base64 of its 32 bytes. There is one way to write a document: keys are
sorted, and each value has one form. What is signed is the document without its signature.

Ed25519: RFC 8032, https://www.rfc-editor.org/rfc/rfc8032
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BundleError, SignatureError
from .fields import Fields, shown
from .safetensors_file import parse_json_object

FORMAT_VERSION = 1
ALGORITHM = "Ed25519"
KINDS = ("archive", "bundle")
KEY_BYTES = 32
SIGNATURE_BYTES = 64


def parse_public_key(text: Any, where: str) -> str:
    """Check the text of a public key and return it.

    Raises:
        SignatureError: it is not the base64 of 32 bytes; names `where` it stands.
    """
    if not isinstance(text, str) or len(_decode(text)) != KEY_BYTES:
        raise SignatureError(
            f"{where}: {shown(text)}, expected an {ALGORITHM} public key: the base64 of "
            f"{KEY_BYTES} bytes, as torchserve-fire keygen prints it"
        )
    return text


def verify_signature(
    data: bytes, kind: str, trusted_keys: Sequence[str], source: str
) -> dict[str, str]:
    """Check a signature's document and return which files it is for.

    Args:
        data: the document.
        kind: "archive" or "bundle", which the signature must be for.
        trusted_keys: public keys, one of which must have signed.
        source: the document's name, for messages.

    Returns:
        The SHA-256 of each file that was signed, by its path.

    Raises:
        SignatureError: the document is damaged, for something else, signed by a key that is not
            trusted, or its signature is wrong; or the package `cryptography` is missing.
    """
    try:
        values = parse_json_object(data, source)
    except BundleError as error:
        raise SignatureError(str(error)) from None
    fields = Fields(values, source, SignatureError)
    version = fields.integer("format_version")
    if version != FORMAT_VERSION:
        raise SignatureError(f"{source}: format_version: {version}, expected {FORMAT_VERSION}")
    fields.choice("algorithm", (ALGORITHM,))
    found = fields.choice("kind", KINDS)
    if found != kind:
        raise SignatureError(f"{source}: signs a file of kind {found!r}, expected {kind!r}")
    key = parse_public_key(fields.raw("public_key"), fields.where("public_key"))
    signature = fields.text("signature")
    entries = fields.fields("files")
    files = {name: entries.sha256(name) for name in entries.names()}
    fields.finish()
    if key not in trusted_keys:
        raise SignatureError(
            f"{source}: signed by {key}, which is not trusted; trusted: {', '.join(trusted_keys)}"
        )
    if (
        # Else one signature could be written in many ways.
        document_bytes(values) != data
        or len(_decode(signature)) != SIGNATURE_BYTES
        or not _is_signed(signed_bytes(kind, files, key), _decode(signature), _decode(key))
    ):
        raise SignatureError(
            f"{source}: the signature is wrong: the file was changed, or was not made with {key}"
        )
    return files


def signed_bytes(kind: str, files: Mapping[str, str], public_key: str) -> bytes:
    """Return the bytes that are signed: the document without its signature.

    Args:
        kind: "archive" or "bundle".
        files: SHA-256 of each file by its path.
        public_key: of who signs.
    """
    return document_bytes(
        {
            "format_version": FORMAT_VERSION,
            "algorithm": ALGORITHM,
            "kind": kind,
            "public_key": public_key,
            "files": dict(files),
        }
    )


def document_bytes(values: Mapping[str, Any]) -> bytes:
    """Return the only bytes in which a document is written."""
    return json.dumps(values, sort_keys=True, indent=2).encode("ascii") + b"\n"


def _decode(text: str) -> bytes:
    """Return the bytes of a base64 text, none where it is not written as base64 is."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    # Several texts decode to the same bytes.
    return data if base64.b64encode(data).decode("ascii") == text else b""


def _is_signed(data: bytes, signature: bytes, public_key: bytes) -> bool:
    try:
        # Only here, because a served environment without keys need not have it.
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise SignatureError(
            "trusted keys are set, but signatures cannot be checked: the Python package "
            "'cryptography' is not installed here, expected it beside torch"
        ) from None
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except InvalidSignature:
        return False
    return True
