"""The arguments that say where a running server is, and what its tokens are."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .values import address, existing_file, existing_folder

if TYPE_CHECKING:
    from ...deployment.client.tokens import ServerTokens

MANAGEMENT = "http://127.0.0.1:8081"
INFERENCE = "http://127.0.0.1:8080"
CONFIG = Path("config.properties")
KEY_FILE = Path("key_file.json")
MODEL_STORE = Path("model_store")


def add_server_arguments(parser: argparse.ArgumentParser, *, needed: bool = False) -> None:
    """Add both addresses, their tokens, and `--ca`.

    Args:
        parser: of the command.
        needed: whether a server is meant only where `--management` is given.
    """
    add_management_arguments(parser, needed=needed)
    parser.add_argument(
        "--inference",
        type=address,
        metavar="URL",
        help="inference address (default: that in the configuration of the server behind "
        f"--management, where it is seen on this machine, else {INFERENCE})",
    )
    parser.add_argument("--inference-token", help="inference token")


def add_management_arguments(parser: argparse.ArgumentParser, *, needed: bool = False) -> None:
    """Add the management address, its token, and `--ca`; `needed` as of `add_server_arguments`."""
    known = f" (default: that in the current folder's {CONFIG}, else {MANAGEMENT})"
    parser.add_argument(
        "--management",
        type=address,
        metavar="URL",
        help=f"management address{'' if needed else known}",
    )
    parser.add_argument("--token", help="management token")
    parser.add_argument(
        "--key-file",
        type=existing_file,
        metavar="FILE",
        help="the server's key_file.json, for the tokens that are not given; expired ones are "
        "renewed (default: the one in the current folder, or in the server's, where there is one)",
    )
    parser.add_argument(
        "--ca",
        type=existing_file,
        metavar="FILE",
        help="certificates, in PEM, of the authorities to trust over https (default: the public "
        "ones)",
    )


def add_model_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--model-store`, of a server that runs."""
    parser.add_argument(
        "--model-store",
        type=existing_folder,
        metavar="DIR",
        help=f"the server's folder with the archives (default: {MODEL_STORE} in the current "
        "folder, or that of the server where it runs on this machine)",
    )


def find_addresses(args: argparse.Namespace) -> None:
    """Set the addresses that were not given, from the server's configuration where it is found.

    Raises:
        FireError: a configuration cannot be read.
    """
    from ...deployment.client.server_process import find_server
    from ...deployment.server.next_start import config_of
    from ...deployment.server.properties import local_addresses

    here = local_addresses(CONFIG) if CONFIG.is_file() else None
    if args.management is None:
        named = MANAGEMENT if here is None else here.management
        # The folder's configuration may be that of a server that does not run.
        running = [url for url in (named, MANAGEMENT) if find_server(url) is not None]
        args.management = running[0] if running else named
    if getattr(args, "inference", "") is None:
        process = find_server(args.management)
        config = None if process is None else config_of(process)
        if config is not None and config.is_file():
            args.inference = local_addresses(config).inference
        elif here is not None and here.management == args.management:
            args.inference = here.inference
        else:
            args.inference = INFERENCE


def server_model_store(args: argparse.Namespace) -> Path:
    """Return the server's model store.

    Raises:
        FireError: it was not given and is not found.
    """
    from torchserve_fire.errors import FireError

    from ...deployment.client.server_process import find_server

    if args.model_store is not None:
        given: Path = args.model_store
        return given
    if MODEL_STORE.is_dir():
        return MODEL_STORE
    process = find_server(args.management)
    if process is None or process.model_store is None or not process.model_store.is_dir():
        raise FireError(
            f"the current folder has no {MODEL_STORE}: give --model-store with the server's folder "
            "of archives"
        )
    return process.model_store


def server_tokens(args: argparse.Namespace) -> ServerTokens:
    """Return the tokens for the server: those given, those of a key file, or none.

    Without `--key-file`, it is that of the current folder, or else of the server's own folder,
    where that is seen.
    """
    from ...deployment.client.server_process import find_server
    from ...deployment.client.tokens import ServerTokens

    key_file: Path | None = args.key_file
    if key_file is None and KEY_FILE.is_file():
        key_file = KEY_FILE
    if key_file is None and not args.token:
        process = find_server(args.management)
        found = None if process is None else process.folder / KEY_FILE
        # That of another user cannot be read.
        key_file = found if found is not None and os.access(found, os.R_OK) else None
    inference = getattr(args, "inference_token", None)
    return ServerTokens(args.management, key_file, args.token, inference, args.ca)


@contextlib.contextmanager
def explained(args: argparse.Namespace, tokens: ServerTokens) -> Iterator[None]:
    """Say of what a server refuses in the block how it would not.

    Raises:
        FireError: the server asks for a token and none was found, or its model API is off.
    """
    from torchserve_fire.errors import FireError

    from ...deployment.client.server_errors import ModelApiOffError, TokenError
    from ...deployment.client.server_process import find_server
    from ...deployment.server.next_start import config_of

    try:
        yield
    except TokenError as error:
        if tokens.found:
            raise
        # Only now, because a server may be configured to ask for none.
        raise FireError(
            f"{args.management} asks for a token, none was given, and the current folder has no "
            f"{KEY_FILE}: give --key-file, or --token and --inference-token"
        ) from error
    except ModelApiOffError as error:
        process = find_server(args.management)
        config = "its config.properties" if process is None else str(config_of(process))
        raise FireError(
            f"{error}: set enable_model_api=true in {config}, or start it with "
            "--enable-model-api, and start it again; nothing was changed"
        ) from error
