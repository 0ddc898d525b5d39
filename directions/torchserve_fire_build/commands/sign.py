"""`torchserve-fire sign`: a bundle's signature, in a file beside it."""

from __future__ import annotations

import argparse

from .arguments.values import existing_file


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "sign",
        help="sign a bundle",
        description="Write a bundle's signature to BUNDLE.sig beside it, where package and swap "
        "look for it (--trusted-key). Archives are signed as they are made: package --sign, swap "
        "--sign.",
        allow_abbrev=False,
    )
    parser.add_argument("bundle", type=existing_file, help="the direction bundle")
    parser.add_argument(
        "--key",
        type=existing_file,
        metavar="KEYFILE",
        help="private key (torchserve-fire keygen); default: the one whose text is in "
        "FIRE_SIGNING_KEY",
    )
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Read the key to sign with, before torch is loaded.

    Raises:
        SignatureError: there is no such key.
    """
    from ..signing.signing_key import read_signing_key

    args.signing_key = read_signing_key(args.key)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..signing.sign_bundle import sign_bundle

    print(sign_bundle(args.bundle, args.signing_key))
    return 0
