"""`torchserve-fire swap`: another bundle, or mode, for a model that is being served."""

from __future__ import annotations

import argparse

from ..common.names import MODES
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
from .arguments.signing import add_sign_argument, add_trusted_key_argument, signing_key
from .arguments.values import existing_file, existing_folder
from .refusal import Refusal


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "swap",
        help="give a served model another bundle or mode, without losing a request",
        description="Register the model's archive with another bundle or mode as the next version, "
        "check that it answers, and make it the default. The old version is unregistered once it "
        "has answered what it received. On any failure the old version serves on. With --in-place, "
        "put the bundle where the served workers take it from (handler: bundle_folder), and wait "
        "until all of them go by it: no version is registered, and no worker started.",
        allow_abbrev=False,
    )
    parser.add_argument("--model-name", required=True, help="name that the model is served under")
    parser.add_argument("--bundle", type=existing_file, help="the new direction bundle")
    parser.add_argument("--mode", choices=MODES, help="the new mode")
    parser.add_argument(
        "--in-place",
        nargs="?",
        const=True,
        type=existing_folder,
        metavar="FOLDER",
        help="put the bundle into the folder that the model's workers look at; FOLDER: where this "
        "machine has it, if elsewhere; --sign then signs the bundle",
    )
    add_model_store_argument(parser)
    parser.add_argument(
        "--version", help="the new version; default: the last number of the old one plus 1"
    )
    add_trial_device_argument(parser)
    add_keep_argument(parser)
    add_server_arguments(parser)
    add_sign_argument(parser)
    add_trusted_key_argument(parser, "a bundle that is not signed by it is refused")
    parser.set_defaults(run=run, check=check, extras=("torchserve",))


def check(args: argparse.Namespace) -> None:
    """Refuse a swap that changes nothing or checks nothing, and read the key to sign with.

    Raises:
        Refusal: no change is named, or one that is not made in place, or keys and nothing that
            they could have signed.
        SignatureError: there is no such key.
    """
    if args.bundle is None and args.mode is None:
        raise Refusal("expected --bundle, --mode, or both: what is to change?")
    if args.trusted_keys and args.bundle is None and args.sign is None:
        raise Refusal("--trusted-key: there is no bundle to check: give --bundle, or leave it out")
    if args.in_place is not None:
        for flag in ("mode", "version", "model_store", "keep_on_restart"):
            if getattr(args, flag) is not None:
                raise Refusal(
                    f"--in-place and --{flag.replace('_', '-')}: in place the bundle alone is "
                    "changed, and no archive: leave one of them out"
                )
    args.signing_key = signing_key(args.sign)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..deployment.client.check_inference import check_inference
    from ..deployment.client.management import Management

    find_addresses(args)
    tokens = server_tokens(args)
    management = Management(args.management, tokens.management, args.ca)
    if args.in_place is not None:
        from ..deployment.client.swap_in_place import swap_in_place

        with explained(args, tokens):
            swap_in_place(
                management,
                args.model_name,
                args.bundle,
                None if args.in_place is True else args.in_place,
                report=lambda line: print(line, flush=True),
                signing_key=args.signing_key,
                trusted_keys=args.trusted_keys,
            )
        return 0
    with explained(args, tokens):
        # What loads torch comes after the server has answered.
        management.check_model_api()
        check_inference(args.inference, tokens.inference, args.ca)
        management.describe(args.model_name)
        check_keep_argument(args)
        args.model_store = server_model_store(args)
        from ..common.devices import find_device
        from ..deployment.client.rollout import Target
        from ..deployment.client.swap import swap_bundle

        swap_bundle(
            Target(management, args.inference, tokens.inference, args.model_store, args.ca),
            args.model_name,
            args.bundle,
            args.version,
            report=lambda line: print(line, flush=True),
            mode=args.mode,
            signing_key=args.signing_key,
            trusted_keys=args.trusted_keys,
            device=find_device(args.device),
            on_default=lambda: keep_models(args, management),
        )
        tell_next_start(args, management)
    return 0
