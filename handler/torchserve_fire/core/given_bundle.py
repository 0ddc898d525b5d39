"""A bundle from outside an archive, which must be signed where keys are trusted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import BundleError, SignatureError
from ..format.bundle import Bundle
from ..format.bundle_file import load_bundle
from ..format.bundle_signature import check_bundle_signature


def read_given(given: Bundle | Path | str) -> tuple[Bundle, str]:
    """Return a bundle, and what it is called in messages.

    Args:
        given: its file, or a bundle that was saved.

    Raises:
        BundleError: it cannot be read, or was never saved, so that it has no digest.
    """
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
        return load_bundle(path), path.name
    if not isinstance(given, Bundle):
        raise BundleError(
            f"bundle: {type(given).__name__}, expected its file, or what load_bundle or "
            "save_bundle returned"
        )
    if not given.digest:
        raise BundleError(
            "the bundle was not saved, or changed since, so it has no digest to be known by: "
            "expected what save_bundle(bundle, path) returns"
        )
    return given, "the bundle"


def check_trusted(given: Bundle | Path | str, digest: str, trusted_keys: Sequence[str]) -> None:
    """Refuse a bundle that none of the trusted keys has signed, where there are any.

    Args:
        given: what was read.
        digest: of the bundle that was read there.
        trusted_keys: public keys; none: it need not be signed.

    Raises:
        SignatureError: it is not signed by any of them.
    """
    if not trusted_keys:
        return
    if isinstance(given, Bundle):
        raise SignatureError(
            "the bundle: keys are trusted, expected its file, with its signature beside it"
        )
    check_bundle_signature(Path(given), digest, trusted_keys)
