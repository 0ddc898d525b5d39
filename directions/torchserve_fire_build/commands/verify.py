"""`torchserve-fire verify`: whether a bundle or an archive is signed by a trusted key."""

from __future__ import annotations

import argparse
import sys

from .arguments.signing import add_trusted_key_argument
from .arguments.values import existing_file


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "verify",
        help="check the signature of a bundle or an archive",
        description="Check that a bundle (with its .sig beside it) or an archive (.mar) is, to the "
        "byte, what a trusted key has signed. Nothing of it is run. Exit status: 0 it is, 1 it is "
        "not, 64 bad input.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=existing_file, help="a bundle, or an archive (.mar)")
    add_trusted_key_argument(parser, "who must have signed", required=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.errors import SignatureError

    from ..common.exit_status import ALARM

    try:
        _verify(args)
    except SignatureError as error:
        print(f"torchserve-fire verify: {error}", file=sys.stderr)
        return ALARM
    print(f"{args.file}: signed by a trusted key")
    return 0


def _verify(args: argparse.Namespace) -> None:
    """Check the signature.

    Raises:
        SignatureError: it is none of a trusted key.
        FireError: the file cannot be read, or is damaged.
    """
    if args.file.suffix == ".mar":
        from ..deployment.archive.sign_archive import verify_archive

        verify_archive(args.file, args.trusted_keys)
    else:
        from torchserve_fire.format.bundle_file import load_bundle
        from torchserve_fire.format.bundle_signature import check_bundle_signature

        check_bundle_signature(args.file, load_bundle(args.file).digest, args.trusted_keys)
