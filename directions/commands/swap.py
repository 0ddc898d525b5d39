"""`torchserve-fire swap`: another bundle for a model that is being served."""

from __future__ import annotations

import argparse
from pathlib import Path

from .signing_arguments import (
    add_sign_argument,
    add_trusted_key_argument,
    public_keys,
    signing_key,
)

KEY_FILE = Path("key_file.json")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "swap",
        help="give a served model another bundle, without losing a request",
        description="Register the model's archive with another bundle as the next version, see it "
        "answer, make it the default, and unregister the old version when it has answered what it "
        "received. On any failure the old version serves on.",
        allow_abbrev=False,
    )
    parser.add_argument("--model-name", required=True, help="name that the model is served under")
    parser.add_argument("--bundle", required=True, type=Path, help="the new direction bundle")
    parser.add_argument(
        "--model-store",
        type=Path,
        default=Path("model_store"),
        metavar="DIR",
        help="the server's folder with the archives (default: %(default)s)",
    )
    parser.add_argument(
        "--version", help="the new version; default: the last number of the old one plus 1"
    )
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
    add_sign_argument(parser)
    add_trusted_key_argument(parser, "a bundle that is not signed by it is refused")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from handler.errors import FireError

    from ..deployment.management import Management, TokenError
    from ..deployment.server import read_tokens
    from ..deployment.swap import Target, swap_bundle

    key, trusted_keys = signing_key(args.sign), public_keys(args.trusted_keys)
    token, inference_token, key_file = args.token, args.inference_token, args.key_file
    if key_file is None and not (token and inference_token) and KEY_FILE.is_file():
        key_file = KEY_FILE
    if key_file is not None:
        tokens = read_tokens(key_file)
        token = token or tokens.management
        inference_token = inference_token or tokens.inference
    target = Target(
        Management(args.management, token), args.inference, inference_token, args.model_store
    )
    try:
        swap_bundle(
            target,
            args.model_name,
            args.bundle,
            args.version,
            report=lambda line: print(line, flush=True),
            signing_key=key,
            trusted_keys=trusted_keys,
        )
    except TokenError as error:
        if token:
            raise
        # Only now, because a server may be configured to ask for none.
        raise FireError(
            f"{args.management} asks for a token, none was given, and the current folder has no "
            f"{KEY_FILE}: give --key-file, or --token and --inference-token"
        ) from error
    return 0
