"""The signature of a bundle, in a file beside it: `bundle.safetensors.sig`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import SignatureError
from .bundle import Bundle
from .bundle_file import BUNDLE_FILE, MAX_BYTES, open_bundle, parse_bundle
from .digest import CHUNK_BYTES
from .signature import read_signature, verify_signature

SUFFIX = ".sig"


def signature_path(bundle: Path) -> Path:
    """Return where the signature of a bundle's file lies."""
    return bundle.with_name(bundle.name + SUFFIX)


def signed_digest(bundle: Path, trusted_keys: Sequence[str]) -> str:
    """Return the SHA-256 for which the signature beside a bundle's file stands.

    The bundle itself is not read.

    Args:
        bundle: its file, beside which the signature lies.
        trusted_keys: public keys.

    Raises:
        SignatureError: there is no signature, it is wrong, by another key, or for no bundle.
    """
    path = signature_path(bundle)
    try:
        data = read_signature(path)
    except OSError as error:
        raise SignatureError(
            f"{path}: cannot read the bundle's signature: {error.strerror}; expected one by a "
            "trusted key (torchserve-fire sign)"
        ) from None
    files = verify_signature(data, "bundle", trusted_keys, str(path))
    if set(files) != {BUNDLE_FILE}:
        raise _signs_another(bundle)
    return files[BUNDLE_FILE]


def check_bundle_signature(bundle: Path, digest: str, trusted_keys: Sequence[str]) -> None:
    """Refuse a bundle that none of the trusted keys has signed.

    Args:
        bundle: its file, beside which the signature lies.
        digest: SHA-256 of the bytes that will be used.
        trusted_keys: public keys.

    Raises:
        SignatureError: there is no signature, it is wrong, by another key, or for another bundle.
    """
    if signed_digest(bundle, trusted_keys) != digest:
        raise _signs_another(bundle)


def load_signed_bundle(path: Path, trusted_keys: Sequence[str]) -> Bundle:
    """Read a bundle's file that one of the trusted keys has signed.

    What no key has signed is neither parsed nor held in memory, since anybody may have put it
    there: it is hashed piece by piece, up to the size that a bundle may have.

    Args:
        path: the file, beside which the signature lies.
        trusted_keys: public keys.

    Raises:
        SignatureError: there is no signature, it is wrong, by another key, or for another bundle.
        BundleError: the file cannot be read, or is no bundle.
    """
    signed = signed_digest(path, trusted_keys)
    with open_bundle(path) as file:
        digest, size = hashlib.sha256(), 0
        while size <= MAX_BYTES and (chunk := file.read(CHUNK_BYTES)):
            digest.update(chunk)
            size += len(chunk)
        if digest.hexdigest() != signed:
            raise _signs_another(path)
        file.seek(0)
        data = file.read(size)
    # Once more of the bytes that are used: the file may have been written over meanwhile.
    if hashlib.sha256(data).hexdigest() != signed:
        raise _signs_another(path)
    return parse_bundle(data, path.name)


def _signs_another(bundle: Path) -> SignatureError:
    return SignatureError(f"{signature_path(bundle)}: signs another bundle than {bundle} is now")
