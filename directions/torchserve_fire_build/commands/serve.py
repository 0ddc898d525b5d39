"""`torchserve-fire serve`: TorchServe with this project's configuration, and Java found."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .arguments.signing import add_trusted_key_argument
from .arguments.values import existing_file, existing_folder


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "serve",
        help="serve archives with TorchServe until Ctrl-C",
        description="Run TorchServe in the foreground until Ctrl-C: loopback addresses, tokens "
        "required, archives from the model store only. It writes key_file.json (the tokens) and "
        "logs/ to the current folder.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model-store",
        required=True,
        type=existing_folder,
        help="folder with the archives",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE.mar",
        help="archives of the model store to load at the start; without NAME, under the model name "
        "that each was packed with",
    )
    parser.add_argument(
        "--ts-config", type=existing_file, help="another configuration than this project's"
    )
    add_trusted_key_argument(parser, "start only where each archive of --models is signed by it")
    parser.set_defaults(run=run, check=check, extras=("torchserve",))


def check(args: argparse.Namespace) -> None:
    """Refuse to load what is not there, or not signed where a key is given.

    Raises:
        FireError: naming the archive.
    """
    from ..deployment.server.models_to_load import check_archives, check_models_to_load
    from ..deployment.server.properties import find_config, read_properties

    check_archives(args.model_store, args.models)
    if args.trusted_keys:
        settings = read_properties(args.ts_config or find_config())
        check_models_to_load(args.model_store, args.models, settings, args.trusted_keys)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..common.environment import check_environment
    from ..deployment.server.models_to_load import newer_archives
    from ..deployment.server.torchserve import TorchServe

    check_environment()
    for line in newer_archives(args.model_store, args.models):
        print(f"torchserve-fire serve: {line}", file=sys.stderr, flush=True)
    server = TorchServe(args.model_store, args.models, config=args.ts_config, folder=Path.cwd())
    try:
        server.start()
        print("starting TorchServe ...", flush=True)
        server.wait_until_ready()
        addresses = server.addresses
        print(
            f"inference:  {addresses.inference}  (gRPC {addresses.grpc_inference})\n"
            f"management: {addresses.management}  (gRPC {addresses.grpc_management})\n"
            f"metrics:    {addresses.metrics}\n"
            f"tokens:     {server.key_file}\n"
            f"log:        {server.console}\n"
            "Ctrl-C or SIGTERM stops it.",
            flush=True,
        )
        status = server.wait()
    finally:
        server.stop()
    print(f"torchserve-fire serve: TorchServe ended with status {status}", file=sys.stderr)
    return 1
