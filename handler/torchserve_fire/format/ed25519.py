"""Ed25519: public keys as base64 of their 32 bytes, and the check of a signature.

RFC 8032, https://www.rfc-editor.org/rfc/rfc8032
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from ..errors import SignatureError
from .fields import shown

ALGORITHM = "Ed25519"
KEY_BYTES = 32
SIGNATURE_BYTES = 64

PUBLIC_KEY = (
    f"an {ALGORITHM} public key: the base64 of {KEY_BYTES} bytes, as torchserve-fire keygen "
    "prints it"
)
"""What a message expects."""


def parse_public_key(text: Any, where: str) -> str:
    """Check the text of a public key and return it.

    Raises:
        SignatureError: it is not the base64 of 32 bytes; names `where` it stands.
    """
    if not isinstance(text, str) or not is_public_key(text):
        raise SignatureError(f"{where}: {shown(text)}, expected {PUBLIC_KEY}")
    return text


def is_public_key(text: str) -> bool:
    """Return whether a text is the base64 of 32 bytes."""
    return len(decode_base64(text)) == KEY_BYTES


def decode_base64(text: str) -> bytes:
    """Return the bytes of a base64 text, none where it is not written as base64 is."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    # Several texts decode to the same bytes.
    return data if base64.b64encode(data).decode("ascii") == text else b""


def check_signed(
    data: bytes, signature: str, public_key: str, trusted_keys: Sequence[str], source: str
) -> None:
    """Refuse what a trusted key has not signed.

    Args:
        data: what was signed.
        signature: base64 of its 64 bytes.
        public_key: of who is said to have signed.
        trusted_keys: public keys, of which it must be one.
        source: the document's name, for messages.

    Raises:
        SignatureError: the key is not trusted, the signature is wrong, or the package
            `cryptography` is missing.
    """
    if public_key not in trusted_keys:
        raise SignatureError(
            f"{source}: signed by {public_key}, which is not trusted; trusted: "
            f"{', '.join(trusted_keys)}; sign it with a trusted key, or, if you trust this one, "
            "give it with --trusted-key (a worker: handler: trusted_keys)"
        )
    raw = decode_base64(signature)
    if len(raw) != SIGNATURE_BYTES or not _is_signed(data, raw, decode_base64(public_key)):
        raise SignatureError(
            f"{source}: the signature is wrong: the file was changed, or was not made with "
            f"{public_key}"
        )


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
