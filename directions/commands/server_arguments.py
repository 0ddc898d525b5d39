"""Where a running server is, and what it asks for: the arguments of the commands that reach it."""

from __future__ import annotations

import argparse
from pathlib import Path

KEY_FILE = Path("key_file.json")


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the addresses, the tokens and `--ca`."""
    parser.add_argument(
        "--management",
        default="http://127.0.0.1:8081",
        metavar="URL",
        help="management address (default: %(default)s)",
    )
    parser.add_argument(
        "--inference",
        default="http://127.0.0.1:8080",
        metavar="URL",
        help="inference address (default: %(default)s)",
    )
    parser.add_argument("--token", help="management token")
    parser.add_argument("--inference-token", help="inference token")
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="the server's key_file.json, for the tokens that are not given (default: the one in "
        "the current folder, where there is one)",
    )
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="certificates, in PEM, of the authorities to trust over https (default: the public "
        "ones)",
    )


def read_given_tokens(args: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return the management and the inference token, None where there is none.

    Raises:
        FireError: the key file cannot be read, or is no such file.
    """
    from ..deployment.server import read_tokens

    management, inference, key_file = args.token, args.inference_token, args.key_file
    if key_file is None and not (management and inference) and KEY_FILE.is_file():
        key_file = KEY_FILE
    if key_file is not None:
        tokens = read_tokens(key_file)
        management = management or tokens.management
        inference = inference or tokens.inference
    return management, inference
