"""`--cache`, the same for all commands that build a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_cache_argument(parser: argparse.ArgumentParser, besides: str = "") -> None:
    """Add the flag; `besides` says what else is to be known of it."""
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps what finished steps result in: a build that was interrupted goes "
        "on from there when it is started again with the same model, samples and options" + besides,
    )


def check_cache(folder: Path | None) -> None:
    """Refuse a folder that could not be written to, before the work begins.

    Raises:
        OutputError: it is no folder, or neither exists nor can be made.
    """
    from torchserve_fire.format.write_file import check_folder

    if folder is not None:
        check_folder(folder, ())
