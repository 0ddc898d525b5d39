"""`torchserve-fire ready`: a readiness probe that makes a real prediction."""

from __future__ import annotations

import argparse
import mimetypes
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments.server import add_server_arguments, explained, find_addresses, server_tokens
from .arguments.values import existing_file, seconds

if TYPE_CHECKING:
    from ..deployment.archive.load_as_worker import Body

DIGEST = re.compile(r"[0-9a-f]{64}")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "ready",
        help="check by a real prediction whether a model is served through a bundle",
        description="Send one prediction and check that it is answered through a direction bundle. "
        "TorchServe's /ping is Healthy while no worker can load the model; this is not. "
        "Exit status: 0 ready, 1 not ready, 64 bad input.",
        allow_abbrev=False,
    )
    parser.add_argument("--model-name", required=True, help="name that the model is served under")
    parser.add_argument("--version", help="one version (default: the one that requests get)")
    parser.add_argument(
        "--input",
        type=existing_file,
        metavar="FILE",
        help="body to send, an image or JSON (default: a random input of the size that the "
        "management API names; it names the mode, too)",
    )
    parser.add_argument(
        "--bundle",
        metavar="FILE|SHA256",
        help="the bundle that must be used, as a file or its digest (default: any)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=5.0,
        metavar="TIME",
        help="how long each answer may take, in seconds, or as 2m (default: %(default)g)",
    )
    add_server_arguments(parser)
    parser.set_defaults(run=run, extras=("torchserve",))


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..common.exit_status import ALARM
    from ..deployment.client.management import Management
    from ..deployment.client.readiness import NotReadyError, Probe, check_ready, describe_served

    find_addresses(args)
    tokens = server_tokens(args)
    probe = Probe(
        args.inference,
        tokens.inference,
        args.model_name,
        args.version,
        _digest(args.bundle),
        args.timeout,
        args.ca,
    )
    try:
        with explained(args, tokens):
            if args.input is None:
                served = describe_served(
                    Management(args.management, tokens.management, args.ca), probe
                )
                body, mode = served.body, f", in mode {served.mode}"
            else:
                # A probe may have no access to the management API, which alone knows the mode.
                body, mode = _body(args.input), ""
            digest = check_ready(probe, body)
    except NotReadyError as error:
        print(f"torchserve-fire ready: not ready: {error}", file=sys.stderr)
        return ALARM
    print(f"{args.model_name} answers with bundle {digest}{mode}")
    return 0


def _digest(bundle: str | None) -> str | None:
    from torchserve_fire.format.bundle_file import load_bundle

    if bundle is None or DIGEST.fullmatch(bundle):
        return bundle
    return load_bundle(bundle).digest


def _body(path: Path) -> Body:
    from torchserve_fire.errors import FireError

    from ..deployment.archive.load_as_worker import Body

    try:
        content = path.read_bytes()
    except OSError as error:
        raise FireError(f"--input {path}: cannot be read: {error.strerror}") from None
    kind, _ = mimetypes.guess_type(path.name)
    return Body(content, kind or "application/octet-stream")
