"""The private key that bundles and archives are signed with: made, read, and used."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from torchserve_fire.errors import SignatureError
from torchserve_fire.format.fields import shown
from torchserve_fire.format.signature import (
    MAX_BYTES,
    envelope_bytes,
    files_payload,
    signed_bytes,
)
from torchserve_fire.format.write_file import check_writable

from ..common.errors import OutputError

KEY_VARIABLE = "FIRE_SIGNING_KEY"


def make_key_file(path: Path) -> str:
    """Write a new private key to a file that only this user may read.

    Args:
        path: the file (PEM, PKCS #8, not encrypted); it must not exist.

    Returns:
        The public key.

    Raises:
        OutputError: the file exists or cannot be written; nothing is left behind.
    """
    key = Ed25519PrivateKey.generate()
    check_writable(path)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise OutputError(f"{path}: exists already, and a key is never overwritten") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
    return public_key_of(key)


def read_signing_key(path: Path | None) -> Ed25519PrivateKey:
    """Read a private key.

    Args:
        path: the file; None: the text in the environment variable FIRE_SIGNING_KEY.

    Raises:
        SignatureError: it is missing, encrypted, or not an Ed25519 key. The message holds nothing
            of the key.
    """
    if path is None:
        where = KEY_VARIABLE
        data = os.environ.get(KEY_VARIABLE, "").encode("utf-8", "surrogateescape")
        if not data:
            raise SignatureError(
                f"no key to sign with: name a key file (torchserve-fire keygen makes one), or put "
                f"its text into the environment variable {KEY_VARIABLE}"
            )
    else:
        where = str(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SignatureError(f"{path}: cannot read the key: {error.strerror}") from None
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(
            f"{where}: expected an Ed25519 private key that is not encrypted, as torchserve-fire "
            "keygen makes it (PEM, PKCS #8)"
        )
    return key


def public_key_of(key: Ed25519PrivateKey) -> str:
    """Return the public key of a private one, as configurations name it."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode("ascii")


def sign_files(kind: str, files: Mapping[str, str], key: Ed25519PrivateKey) -> bytes:
    """Return the document that signs files; the same files and key give the same bytes.

    Args:
        kind: "archive" or "bundle".
        files: SHA-256 of each file by its path.
        key: to sign with.

    Raises:
        SignatureError: a path is no Unicode text, or there are too many files.
    """
    try:
        payload = files_payload(kind, files)
    except UnicodeEncodeError as error:
        raise SignatureError(
            f"{shown(error.object)}: cannot be signed, expected the name of a file in Unicode"
        ) from None
    document = envelope_bytes(payload, public_key_of(key), key.sign(signed_bytes(payload)))
    if len(document) > MAX_BYTES:
        raise SignatureError(
            f"{len(files):,} files cannot be signed together: their names take over "
            f"{MAX_BYTES:,} bytes"
        )
    return document
