"""`torchserve-fire undeploy`: take a version of a model out of service, or all of them."""

from __future__ import annotations

import argparse

from .arguments.next_start import (
    add_keep_argument,
    check_keep_argument,
    keep_models,
    tell_next_start,
)
from .arguments.server import (
    add_management_arguments,
    add_model_store_argument,
    explained,
    find_addresses,
    server_model_store,
    server_tokens,
)
from .refusal import Refusal


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "undeploy",
        help="take a version of a model out of service, or the whole model",
        description="Unregister a version of a model, once it has answered what it received. The "
        "default version, which requests that name none get, goes only with --default, which "
        "names the one that takes its place, or with --all; the only version goes only with --all. "
        "Archives stay in the model store, so "
        "deploy serves one again. A client that names what is gone gets status 404.",
        allow_abbrev=False,
    )
    parser.add_argument("--model-name", required=True, help="name that the model is served under")
    parser.add_argument("--version", help="the version to unregister, while others are registered")
    parser.add_argument("--default", metavar="VERSION", help="a version to make the default before")
    parser.add_argument(
        "--all",
        action="store_true",
        help="all versions: nothing is served under the name any more",
    )
    parser.add_argument(
        "--now",
        action="store_true",
        help="do not wait until it has answered what it received: those requests are lost",
    )
    add_keep_argument(parser)
    add_model_store_argument(parser)
    add_management_arguments(parser)
    parser.set_defaults(run=run, check=check, extras=("torchserve",))


def check(args: argparse.Namespace) -> None:
    """Refuse flags that do not go together.

    Raises:
        Refusal: naming them.
    """
    for flag in ("version", "default"):
        if args.all and getattr(args, flag) is not None:
            raise Refusal(f"--all and --{flag}: expected one of them: --all takes every version")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..deployment.client.management import Management
    from ..deployment.client.undeploy import undeploy

    find_addresses(args)
    tokens = server_tokens(args)
    management = Management(args.management, tokens.management, args.ca)
    with explained(args, tokens):
        management.check_model_api()
        check_keep_argument(args)
        if args.keep_on_restart is not None:
            args.model_store = server_model_store(args)
        undeploy(
            management,
            args.model_name,
            args.version,
            report=lambda line: print(line, flush=True),
            default=args.default,
            every=args.all,
            now=args.now,
        )
        keep_models(args, management)
        tell_next_start(args, management)
    return 0
