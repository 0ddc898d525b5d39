"""The signature of a bundle, in a file beside it: `bundle.safetensors.sig`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import SignatureError
from .bundle_file import BUNDLE_FILE
from .signature import read_signature, verify_signature

SUFFIX = ".sig"


def signature_path(bundle: Path) -> Path:
    """Return where the signature of a bundle's file lies."""
    return bundle.with_name(bundle.name + SUFFIX)


def check_bundle_signature(bundle: Path, digest: str, trusted_keys: Sequence[str]) -> None:
    """Refuse a bundle that none of the trusted keys has signed.

    Args:
        bundle: its file, beside which the signature lies.
        digest: SHA-256 of the bytes that will be used.
        trusted_keys: public keys.

    Raises:
        SignatureError: there is no signature, it is wrong, by another key, or for another bundle.
    """
    path = signature_path(bundle)
    try:
        data = read_signature(path)
    except OSError as error:
        raise SignatureError(
            f"{path}: cannot read the bundle's signature: {error.strerror}; expected one by a "
            "trusted key (torchserve-fire sign)"
        ) from None
    if verify_signature(data, "bundle", trusted_keys, str(path)) != {BUNDLE_FILE: digest}:
        raise SignatureError(f"{path}: signs another bundle than {bundle} is now")
