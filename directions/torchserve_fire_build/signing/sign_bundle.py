"""Signing a bundle."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.format.bundle_signature import signature_path
from torchserve_fire.format.write_file import write_file

from .signing_key import sign_files


def sign_bundle(bundle: Path, key: Ed25519PrivateKey) -> Path:
    """Write a bundle's signature beside it; one of an earlier file of that name is replaced.

    Returns:
        The signature's file.

    Raises:
        BundleError: it is no bundle.
        OutputError: the signature cannot be written.
    """
    target = signature_path(bundle)
    # A bundle is known by its digest: under whatever name it lies, an archive holds it under this.
    write_file(sign_files("bundle", {BUNDLE_FILE: load_bundle(bundle).digest}, key), target)
    return target
