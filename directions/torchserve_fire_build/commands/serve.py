"""`torchserve-fire serve`: TorchServe with Java found, or a server of another engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .arguments.signing import add_trusted_key_argument
from .arguments.values import at_least, existing_file, existing_folder, existing_samples
from .refusal import Refusal

TORCHSERVE = "torchserve"
KSERVE = "kserve"
FLAGS = {
    TORCHSERVE: ("model_store", "models", "ts_config"),
    KSERVE: ("archive", "host", "port", "grpc_port"),
}
"""What each engine takes; no other takes it."""
HOST, PORT, GRPC_PORT = "127.0.0.1", 8080, 8081


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "serve",
        help="serve archives with TorchServe, or another engine, until Ctrl-C",
        description="Run a server in the foreground until Ctrl-C. TorchServe: loopback addresses, "
        "tokens required, archives from the model store only. It writes key_file.json (the "
        "tokens) and logs/ to the current folder. KServe's Python SDK (no Java): one archive, "
        "over REST (v1 and v2) and gRPC, with the same answers; it knows no tokens.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--engine",
        choices=tuple(FLAGS),
        default=TORCHSERVE,
        help="what serves: torchserve, or kserve (docs/kserve.md) (default: %(default)s)",
    )
    add_trusted_key_argument(parser, "start only where each archive to load is signed by it")
    torchserve = parser.add_argument_group("with torchserve")
    torchserve.add_argument(
        "--model-store",
        type=existing_folder,
        help="folder with the archives; always needed",
    )
    torchserve.add_argument(
        "--models",
        nargs="+",
        metavar="[NAME=]FILE.mar",
        help="archives of the model store to load at the start; without NAME, under the model name "
        "that each was packed with",
    )
    torchserve.add_argument(
        "--ts-config", type=existing_file, help="another configuration than this project's"
    )
    kserve = parser.add_argument_group("with kserve")
    kserve.add_argument(
        "--archive",
        type=existing_samples,
        metavar="FILE.mar",
        help="the archive to serve, or its unpacked folder; always needed",
    )
    kserve.add_argument(
        "--host",
        help=f"the address to listen at (default: {HOST}; in a container 0.0.0.0)",
    )
    kserve.add_argument("--port", type=at_least(1), help=f"for REST (default: {PORT})")
    kserve.add_argument("--grpc-port", type=at_least(1), help=f"for gRPC (default: {GRPC_PORT})")
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together, what is not there, or not signed where a key is given.

    Raises:
        Refusal: naming the flag.
        FireError: naming the archive, or the extra that is not installed.
    """
    from ..common.environment import require_extras

    require_extras(args.engine)
    for engine, names in FLAGS.items():
        given = [name for name in names if getattr(args, name) is not None]
        if engine != args.engine and given:
            raise Refusal(f"--{given[0].replace('_', '-')}: goes with --engine {engine} only")
    needed = FLAGS[args.engine][0]
    if getattr(args, needed) is None:
        flag = f"--{needed.replace('_', '-')}"
        raise Refusal(f"{flag}: missing, expected with --engine {args.engine}")
    if args.engine == TORCHSERVE:
        _check_archives(args)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..common.environment import check_environment

    check_environment()
    return _run_kserve(args) if args.engine == KSERVE else _run_torchserve(args)


def _check_archives(args: argparse.Namespace) -> None:
    from ..deployment.server.models_to_load import check_archives, check_models_to_load
    from ..deployment.server.properties import find_config, read_properties

    args.models = args.models or []
    check_archives(args.model_store, args.models)
    if args.trusted_keys:
        settings = read_properties(args.ts_config or find_config())
        check_models_to_load(args.model_store, args.models, settings, args.trusted_keys)


def _run_kserve(args: argparse.Namespace) -> int:
    from ..deployment.server.kserve import Place, serve_archive

    place = Place(args.host or HOST, args.port or PORT, args.grpc_port or GRPC_PORT)
    serve_archive(args.archive, place, args.trusted_keys)
    return 0


def _run_torchserve(args: argparse.Namespace) -> int:
    from ..deployment.server.models_to_load import newer_archives
    from ..deployment.server.torchserve import TorchServe

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
