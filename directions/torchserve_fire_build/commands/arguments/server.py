"""The arguments that say where a running server is, and what its tokens are."""

from __future__ import annotations

import argparse
from pathlib import Path

from .values import existing_file

KEY_FILE = Path("key_file.json")


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add both addresses, their tokens, and `--ca`."""
    add_management_arguments(parser)
    parser.add_argument(
        "--inference",
        default="http://127.0.0.1:8080",
        metavar="URL",
        help="inference address (default: %(default)s)",
    )
    parser.add_argument("--inference-token", help="inference token")


def add_management_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the management address, its token, and `--ca`."""
    parser.add_argument(
        "--management",
        default="http://127.0.0.1:8081",
        metavar="URL",
        help="management address (default: %(default)s)",
    )
    parser.add_argument("--token", help="management token")
    parser.add_argument(
        "--key-file",
        type=existing_file,
        metavar="FILE",
        help="the server's key_file.json, for the tokens that are not given (default: the one in "
        "the current folder, where there is one)",
    )
    parser.add_argument(
        "--ca",
        type=existing_file,
        metavar="FILE",
        help="certificates, in PEM, of the authorities to trust over https (default: the public "
        "ones)",
    )


def read_given_tokens(args: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return the management and the inference token, None where there is none.

    Raises:
        FireError: the key file cannot be read, or is no such file.
    """
    given = (args.token, args.inference_token)
    of_file = (None, None) if all(given) else _tokens_of_file(args.key_file)
    return given[0] or of_file[0], given[1] or of_file[1]


def read_management_token(args: argparse.Namespace) -> str | None:
    """Return the management token, None where there is none.

    Raises:
        FireError: the key file cannot be read, or is no such file.
    """
    return args.token or _tokens_of_file(args.key_file)[0]


def _tokens_of_file(key_file: Path | None) -> tuple[str | None, str | None]:
    from ...deployment.client.tokens import read_tokens

    if key_file is None:
        if not KEY_FILE.is_file():
            return None, None
        key_file = KEY_FILE
    tokens = read_tokens(key_file)
    return tokens.management, tokens.inference
