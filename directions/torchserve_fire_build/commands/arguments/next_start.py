"""`--keep-on-restart`, and what a command says of the server's next start."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .values import existing_file

if TYPE_CHECKING:
    from ...deployment.client.management import Management


def add_keep_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--keep-on-restart`."""
    parser.add_argument(
        "--keep-on-restart",
        type=existing_file,
        metavar="FILE",
        help="a config.properties: write load_models there, so that the next start with it serves "
        "what is served now; everything else in it stays as it is",
    )


def check_keep_argument(args: argparse.Namespace) -> None:
    """Refuse a file in which nothing can be kept, before anything is done.

    Raises:
        FireError: it cannot be read or written, or a snapshot in it names the models.
    """
    from ...deployment.server.next_start import check_keep

    if args.keep_on_restart is not None:
        check_keep(args.keep_on_restart)


def keep_models(args: argparse.Namespace, management: Management) -> None:
    """Write what is served now where the next start reads it, if that was asked for.

    Raises:
        FireError: the file cannot be written; the new version serves all the same.
    """
    from ...deployment.server.next_start import keep_on_restart

    kept = args.keep_on_restart
    if kept is not None:
        value = keep_on_restart(kept, args.model_name, _served(management), args.model_store)
        print(f"{kept}: load_models={value}", flush=True)


def tell_next_start(args: argparse.Namespace, management: Management) -> None:
    """Print what the server's next start will serve."""
    from ...deployment.client.server_process import find_server
    from ...deployment.server.next_start import next_start, next_start_without

    served = _served(management)
    kept = args.keep_on_restart
    process = find_server(args.management)
    if args.model_name in served:
        lines = next_start(process, args.model_name, served[args.model_name], kept)
    else:
        lines = next_start_without(process, args.model_name, kept)
    for line in lines:
        print(line, flush=True)


def _served(management: Management) -> dict[str, str]:
    """Return the archive of each model's default version."""
    return {
        name: management.describe(name).archive.rpartition("/")[2] for name in management.models()
    }
