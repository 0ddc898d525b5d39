"""A bundle from outside an archive, which must be signed where keys are trusted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import BundleError, SignatureError
from ..format.bundle import Bundle
from ..format.bundle_file import load_bundle
from ..format.bundle_signature import load_signed_bundle


def read_given(given: Bundle | Path | str, trusted_keys: Sequence[str] = ()) -> tuple[Bundle, str]:
    """Return a bundle, and what it is called in messages.

    Args:
        given: its file, or a bundle that was saved.
        trusted_keys: public keys, one of which must have signed the file; none: it need not be
            signed.

    Raises:
        BundleError: it cannot be read, or was never saved, so that it has no digest.
        SignatureError: it is not signed by any of the keys.
    """
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
        bundle = load_signed_bundle(path, trusted_keys) if trusted_keys else load_bundle(path)
        return bundle, path.name
    if not isinstance(given, Bundle):
        raise BundleError(
            f"bundle: {type(given).__name__}, expected its file, or what load_bundle or "
            "save_bundle returned"
        )
    if trusted_keys:
        raise SignatureError(
            "the bundle: keys are trusted, expected its file, with its signature beside it"
        )
    if not given.digest:
        raise BundleError(
            "the bundle was not saved, or changed since, so it has no digest to be known by: "
            "expected what save_bundle(bundle, path) returns"
        )
    return given, "the bundle"
