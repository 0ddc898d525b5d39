"""A bundle from outside an archive, which must be signed where keys are trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import BundleError, SignatureError
from ..format.bundle import Bundle
from ..format.bundle_file import load_bundle
from ..format.bundle_signature import check_bundle_signature


def read_trusted(given: Bundle | Path | str, trusted_keys: Sequence[str]) -> tuple[Bundle, str]:
    """Return a bundle, and what it is called in messages.

    Args:
        given: its file, or a bundle that was saved.
        trusted_keys: public keys, one of which must have signed the file; none: it need not be
            signed.

    Raises:
        BundleError: it cannot be read, or was never saved, so that it has no digest.
        SignatureError: it is not signed by any of the keys.
    """
    if not isinstance(given, Bundle):
        path = Path(given)
        bundle = load_bundle(path)
        if trusted_keys:
            check_bundle_signature(path, bundle.digest, trusted_keys)
        return bundle, path.name
    if trusted_keys:
        raise SignatureError(
            "the bundle: keys are trusted, so its file is expected, beside which its signature lies"
        )
    if not given.digest:
        raise BundleError(
            "the bundle: was not saved, so it has no digest to be known by: serve what "
            "save_bundle(bundle, path) returns"
        )
    return given, "the bundle"
