"""`torchserve-fire deploy`: another archive for a model that is being served, or a first one."""

from __future__ import annotations

import argparse

from .arguments.device import add_trial_device_argument
from .arguments.next_start import (
    add_keep_argument,
    check_keep_argument,
    keep_models,
    tell_next_start,
)
from .arguments.server import (
    add_model_store_argument,
    add_server_arguments,
    explained,
    find_addresses,
    server_model_store,
    server_tokens,
)
from .arguments.values import existing_file


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "deploy",
        help="put an archive into service, without a restart or a lost request",
        description="Load the archive here, put it into the model store, register it with the "
        "settings of the served version, check that the server's answers are those computed here, "
        "and make it the default. The old version is unregistered once it has answered what it "
        "received. On any failure the old version serves on. From a plain archive to a repaired "
        "one and back, and, with --new, for a model that is not served yet.",
        allow_abbrev=False,
    )
    parser.add_argument("archive", type=existing_file, metavar="ARCHIVE", help="the .mar")
    parser.add_argument("--model-name", required=True, help="name to serve it under")
    add_model_store_argument(parser)
    parser.add_argument(
        "--version",
        help="version to serve it under; default: the archive's own, or where that is taken the "
        "next one that is free",
    )
    parser.add_argument(
        "--example",
        type=existing_file,
        metavar="FILE",
        help="body of a request to check the answers with (default: the example that the archive "
        "or the served one names, else random images)",
    )
    parser.add_argument(
        "--new",
        action="store_true",
        help="serve a model under a name under which nothing is served yet, beside others",
    )
    add_trial_device_argument(parser)
    add_keep_argument(parser)
    add_server_arguments(parser)
    parser.set_defaults(run=run, check=check, extras=("torchserve",))


def check(args: argparse.Namespace) -> None:
    """Refuse what is no archive, and names that TorchServe could not serve.

    Raises:
        FireError: naming it.
    """
    from ..deployment.archive.any_archive import version_of_manifest
    from ..deployment.archive.archive_name import check_name

    check_name("model name", args.model_name)
    if args.version is not None:
        check_name("version", args.version)
    version_of_manifest(args.archive)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..deployment.client.check_inference import check_inference
    from ..deployment.client.management import Management

    find_addresses(args)
    tokens = server_tokens(args)
    management = Management(args.management, tokens.management, args.ca)
    with explained(args, tokens):
        # What loads torch comes after the server has answered.
        management.check_model_api()
        check_inference(args.inference, tokens.inference, args.ca)
        check_keep_argument(args)
        args.model_store = server_model_store(args)
        from ..common.devices import find_device
        from ..deployment.client.deploy import deploy_archive
        from ..deployment.client.rollout import Target

        deploy_archive(
            Target(management, args.inference, tokens.inference, args.model_store, args.ca),
            args.model_name,
            args.archive,
            args.version,
            report=lambda line: print(line, flush=True),
            example=args.example,
            new=args.new,
            device=find_device(args.device),
            on_default=lambda: keep_models(args, management),
        )
        tell_next_start(args, management)
    return 0
