"""Signatures of files: a DSSE envelope around the SHA-256 of each file, signed with Ed25519.

What is signed is the pre-authentication encoding of the payload and its type. The envelope and its
payload are canonical JSON: there is one way to write a document. Documents of version 1 are read in
`signature_version_1.py`.

DSSE, the Dead Simple Signing Envelope: https://github.com/secure-systems-lab/dsse
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BundleError, SignatureError
from .canonical_json import canonical_json
from .ed25519 import check_signed, decode_base64, parse_public_key
from .fields import Fields
from .json_object import parse_json_object
from .regular_file import open_regular
from .signature_version_1 import verify_version_1

FORMAT_VERSION = 2
PAYLOAD_TYPE = "application/vnd.torchserve-fire.files+json"
KINDS = ("archive", "bundle")
MAX_BYTES = 1 << 22
"""Of a document: some twenty thousand files."""


def read_signature(path: Path) -> bytes:
    """Read a signature's document, of one that is too large only enough to refuse it.

    Raises:
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return file.read(MAX_BYTES + 1)


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
    if len(data) > MAX_BYTES:
        raise SignatureError(f"{source}: over {MAX_BYTES:,} bytes, expected a signature")
    values = _parse(data, source)
    verify = verify_version_1 if _is_version_1(values) else _verify_envelope
    found, files = verify(values, data, trusted_keys, source)
    if found != kind:
        raise SignatureError(f"{source}: signs a file of kind {found!r}, expected {kind!r}")
    return files


def is_of_version_1(data: bytes, source: str) -> bool:
    """Whether a document has the form that version 1 gave it.

    Args:
        data: the document.
        source: the document's name, for messages.

    Raises:
        SignatureError: the document is damaged.
    """
    return _is_version_1(_parse(data, source))


def files_payload(kind: str, files: Mapping[str, str]) -> bytes:
    """Return the payload that names files.

    Args:
        kind: "archive" or "bundle".
        files: SHA-256 of each file by its path.

    Raises:
        UnicodeEncodeError: a path is no Unicode text.
    """
    return canonical_json({"kind": kind, "files": dict(files), "format_version": FORMAT_VERSION})


def signed_bytes(payload: bytes) -> bytes:
    """Return the bytes that are signed: the pre-authentication encoding of a payload."""
    return b"DSSEv1 %d %b %d %b" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode("ascii"),
        len(payload),
        payload,
    )


def envelope_bytes(payload: bytes, public_key: str, signature: bytes) -> bytes:
    """Return the only document that holds a payload and its signature.

    Args:
        payload: what `files_payload` gives.
        public_key: of who signed.
        signature: of what `signed_bytes` gives.
    """
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"keyid": public_key, "sig": base64.b64encode(signature).decode("ascii")}
            ],
        }
    )


def _parse(data: bytes, source: str) -> dict[str, Any]:
    try:
        return parse_json_object(data, source)
    except BundleError as error:
        raise SignatureError(str(error)) from None


def _is_version_1(values: Mapping[str, Any]) -> bool:
    # An envelope has its version in the payload.
    return "format_version" in values


def _verify_envelope(
    values: Mapping[str, Any], data: bytes, trusted_keys: Sequence[str], source: str
) -> tuple[str, dict[str, str]]:
    """Return the kind and the files that an envelope is for; `verify_signature` has the errors."""
    envelope = Fields(values, source, SignatureError)
    envelope.choice("payloadType", (PAYLOAD_TYPE,))
    payload = decode_base64(envelope.text("payload"))
    signatures = envelope.list_of_fields("signatures")
    envelope.finish()
    if len(signatures) != 1:
        raise SignatureError(f"{source}: signatures: {len(signatures)}, expected one")
    key = parse_public_key(signatures[0].raw("keyid"), signatures[0].where("keyid"))
    signature = signatures[0].text("sig")
    signatures[0].finish()
    check_signed(signed_bytes(payload), signature, key, trusted_keys, source)
    # Nothing in the payload is looked at before it is known who wrote it.
    kind, files = _read_payload(payload, f"{source}: payload")
    # Else one document could be written in many ways.
    if envelope_bytes(files_payload(kind, files), key, decode_base64(signature)) != data:
        raise SignatureError(f"{source}: not in canonical form, as torchserve-fire writes it")
    return kind, files


def _read_payload(payload: bytes, source: str) -> tuple[str, dict[str, str]]:
    fields = Fields(_parse(payload, source), source, SignatureError)
    version = fields.integer("format_version")
    if version != FORMAT_VERSION:
        raise SignatureError(f"{source}: format_version: {version}, expected {FORMAT_VERSION}")
    kind = fields.choice("kind", KINDS)
    entries = fields.fields("files")
    files = {name: entries.sha256(name) for name in entries.names()}
    fields.finish()
    return kind, files
