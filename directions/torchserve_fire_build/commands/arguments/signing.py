"""The arguments that name keys."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FROM_ENVIRONMENT = ""
"""Stands, where the name of a file is expected, for the key of the environment variable."""


def add_sign_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that asks for a signed archive."""
    parser.add_argument(
        "--sign",
        nargs="?",
        const=FROM_ENVIRONMENT,
        metavar="KEYFILE",
        help="sign the archive with a private key (torchserve-fire keygen); without KEYFILE, with "
        "the one whose text is in FIRE_SIGNING_KEY",
    )


def add_trusted_key_argument(
    parser: argparse.ArgumentParser, purpose: str, *, required: bool = False
) -> None:
    """Add the flag that names the public keys, one of which must have signed."""
    parser.add_argument(
        "--trusted-key",
        dest="trusted_keys",
        type=public_key,
        action="append",
        default=[],
        required=required,
        metavar="KEY",
        help=f"public key, as keygen prints it: {purpose}; given several times, any of them will "
        "do",
    )


def signing_key(name: str | None) -> Ed25519PrivateKey | None:
    """Return the private key that `--sign` asks for, None where it was not given.

    Raises:
        SignatureError: there is no such key.
    """
    if name is None:
        return None
    from ...signing.signing_key import read_signing_key

    return read_signing_key(None if name == FROM_ENVIRONMENT else Path(name))


def public_key(text: str) -> str:
    """Return a public key: the `type=` of `--trusted-key`."""
    from torchserve_fire.format.ed25519 import PUBLIC_KEY, is_public_key

    if not is_public_key(text):
        raise argparse.ArgumentTypeError(f"{text}: expected {PUBLIC_KEY}")
    return text
