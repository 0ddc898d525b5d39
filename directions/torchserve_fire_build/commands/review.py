"""`torchserve-fire review`: a local page on which an operator goes through what was flagged."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments.model import FILES, add_model_arguments, check_model_arguments, source_files
from .arguments.server import (
    CONFIG,
    add_model_store_argument,
    add_server_arguments,
    explained,
    find_addresses,
    server_model_store,
    server_tokens,
)
from .arguments.signing import FROM_ENVIRONMENT, add_sign_argument, signing_key
from .arguments.values import at_least, existing_file, existing_folder, existing_samples
from .refusal import Refusal

if TYPE_CHECKING:
    from ..review.plan import Plan

PACKAGE = __name__.rpartition(".")[0]
MAIN = (sys.executable, "-m", f"{PACKAGE}.main")
STEP = (sys.executable, "-m", f"{PACKAGE}.review_step")
OF_A_SERVER = ("model_name", "model_store", "sign", "token", "inference_token", "key_file", "ca")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "review",
        help="go through what was flagged, on a local page; refine and deploy from there",
        description="Serve a page to this machine's browser, and to nobody else, until Ctrl-C. It "
        "shows what lies in a quarantine, what the model said of it before and after repair, and "
        "what is alike. You keep or drop; what was decided is saved at once, and nothing is "
        "deleted. Then a better bundle is built of what you kept (as build --refine), compared "
        "with the old one on held-out samples, and put into service (as swap). Pictures are shown; "
        "of rows and texts the beginning is.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=existing_folder,
        metavar="FOLDER",
        help="the quarantine of one model (default: that which the settings of the server's "
        f"model name; the server is that of --management, or of the current folder's {CONFIG})",
    )
    add_server_arguments(parser, needed=True)
    parser.add_argument(
        "--model-name",
        help="name that the model is served under (default: the only one that is served)",
    )
    add_model_store_argument(parser)
    add_sign_argument(parser)
    add_model_arguments(parser)
    parser.add_argument(
        "--bundle",
        type=existing_file,
        help="the direction bundle that flagged the files (default: the one in the archive)",
    )
    parser.add_argument(
        "--clean",
        type=existing_samples,
        help="clean samples, to refine with, as of build; a quarter of them is held out to compare",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the decisions, of copies of what is kept, and of the new bundle; a review "
        "that is started again with it goes on (default: review-NAME in the current folder)",
    )
    parser.add_argument(
        "--port", type=at_least(0), default=0, help="to listen at on 127.0.0.1 (default: any free)"
    )
    parser.set_defaults(run=run, check=check, extras=("review",))


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        FireError: the extra for servers is not installed, or there is no such key.
    """
    from ..common.environment import require_extras

    named = [name for name in ("archive", *FILES) if getattr(args, name) is not None]
    if args.management is None and args.folder is None and not named and CONFIG.is_file():
        require_extras("torchserve")
        find_addresses(args)
    if args.management is None:
        if args.folder is None:
            raise Refusal("expected FOLDER with what was flagged, or --management with the server")
        for name in OF_A_SERVER:
            if getattr(args, name) is not None:
                raise Refusal(f"{_flag(name)}: expected beside --management, whose server it is of")
        if named:
            check_model_arguments(args)
            if args.archive is None and args.bundle is None:
                raise Refusal("--bundle: expected the bundle that flagged the files")
        elif args.bundle is not None or args.clean is not None:
            raise Refusal("--archive: expected the model that --bundle and --clean are for")
    else:
        require_extras("torchserve")
        if named:
            raise Refusal(
                f"{_flag(named[0])}: expected no such flag beside --management: the model is the "
                "server's"
            )
    # A key that is missing is named now, and not when a bundle is there to be deployed.
    signing_key(args.sign)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..review.serve import serve_review
    from ..review.session import Review

    plan = _of_folder(args) if args.management is None else _of_server(args)
    review = Review(plan)
    try:
        review.judge()
        for line in (
            f"{len(review.names)} files in {plan.folder}",
            review.flagged.in_words(),
            f"decisions: {plan.output}",
        ):
            if line:
                print(line, flush=True)
        serve_review(
            review,
            args.port,
            lambda address: print(
                f"open this address in a browser of this machine; Ctrl-C ends it:\n{address}",
                flush=True,
            ),
        )
    finally:
        review.close()
    return 0


def _of_folder(args: argparse.Namespace) -> Plan:
    """Return the plan of a review of a folder.

    Raises:
        FireError: the archive holds no bundle, and none is given.
    """
    from ..review.plan import Plan
    from ..review.served_model import check_holds_bundle

    title = args.folder.resolve().name
    has_model = args.archive is not None or args.serialized_file is not None
    if has_model and args.bundle is None:
        check_holds_bundle(args.archive)
    return Plan(
        title,
        args.folder,
        args.output or Path(f"review-{title}"),
        STEP,
        source_files(args) if has_model else None,
        args.bundle,
        args.clean,
    )


def _of_server(args: argparse.Namespace) -> Plan:
    """Return the plan of a review of what a server has flagged.

    Raises:
        FireError: the server does not answer, or what it serves keeps nothing.
        Refusal: it serves several models, and none is named.
    """
    from ..deployment.client.management import Management
    from ..deployment.client.rollout import Target, archive_of
    from ..review.plan import Plan
    from ..review.served_model import read_served
    from ..source.source_files import SourceFiles

    find_addresses(args)
    tokens = server_tokens(args)
    management = Management(args.management, tokens.management, args.ca)
    with explained(args, tokens):
        names = management.models()
        if args.model_name is None and len(names) != 1:
            served = ", ".join(sorted(names)) or "none"
            raise Refusal(f"--model-name: expected one of the models that are served: {served}")
        name = args.model_name or names[0]
        model = management.describe(name)
        store = server_model_store(args)
        archive = archive_of(
            Target(management, args.inference, tokens.inference, store, args.ca), model
        )
    read = read_served(archive, name, args.folder)
    return Plan(
        name,
        read.quarantine,
        args.output or Path(f"review-{name}"),
        STEP,
        SourceFiles(archive, None, None, None, args.device),
        args.bundle or read.bundle,
        args.clean,
        _swap_command(args, name, store, in_place=read.in_place),
        args.management,
        model.version,
    )


def _swap_command(
    args: argparse.Namespace, name: str, store: Path, *, in_place: bool
) -> tuple[str, ...]:
    """Return the command that swaps the bundle in whose path comes behind."""
    words = [*MAIN, "swap", "--model-name", name, "--management", args.management]
    words += ["--inference", args.inference]
    words += ["--in-place"] if in_place else ["--model-store", os.fspath(store)]
    for option in ("token", "inference_token", "key_file", "ca"):
        if (value := getattr(args, option)) is not None:
            words += [_flag(option), os.fspath(value)]
    if args.sign is not None:
        words += ["--sign"] if args.sign == FROM_ENVIRONMENT else ["--sign", args.sign]
    return (*words, "--bundle")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
