"""`torchserve-fire keygen`: a key to sign bundles and archives with."""

from __future__ import annotations

import argparse

from .arguments.values import new_file


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "keygen",
        help="make a key to sign bundles and archives with",
        description="Write a new Ed25519 private key to a file that only you may read, and print "
        "its public key: for handler: trusted_keys in model-config.yaml, and for --trusted-key. A "
        "file that exists is not overwritten.",
        allow_abbrev=False,
    )
    parser.add_argument("key", type=new_file, metavar="KEYFILE", help="the file to write (PEM)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..signing.signing_key import make_key_file

    print(make_key_file(args.key))
    return 0
