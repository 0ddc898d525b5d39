"""`--archives`: many archives to inspect, in place of one model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..refusal import Refusal
from .model import FILES
from .values import existing_samples

if TYPE_CHECKING:
    from ...fleet.archive_task import ArchiveTask
    from ...inspection.methods import InspectionSettings

OF_EACH = "{archive}"
"""Stands in `--clean` for the name of each archive, without its suffix."""


def add_archives_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag."""
    parser.add_argument(
        "--archives",
        nargs="+",
        metavar="PATTERN",
        help="many archives, by their paths or by patterns such as 'model_store/*.mar': each is "
        "inspected by itself, within the --budget where one is given; a table at the end has a row "
        "for each, and one that fails stops no other. Exit status: 1 if any was found to be "
        "backdoored; else 2 if any failed or could not be told; else 0, and 64 for bad input",
    )


def clean_of_inspection(text: str) -> Path:
    """Return the path of clean samples, or of those of each archive: the `type=` of `--clean`."""
    return Path(text) if OF_EACH in text else existing_samples(text)


def check_fleet(args: argparse.Namespace) -> None:
    """Refuse flags that do not go together with `--archives`, or not without it.

    Raises:
        Refusal: naming the flag.
        FireError: the extra that reads archives is not installed.
    """
    from ...common.environment import require_extras

    if args.archives is None:
        if OF_EACH in str(args.clean):
            raise Refusal(f"--clean {args.clean}: expected beside --archives")
        return
    for name in ("archive", *FILES, "pictures", "report"):
        if getattr(args, name) is not None:
            raise Refusal(
                f"--{name.replace('_', '-')}: expected no such flag beside --archives, which "
                "names whole models, and writes --json alone"
            )
    require_extras("torchserve")


def fleet_tasks(
    args: argparse.Namespace, methods: list[str], settings: InspectionSettings
) -> list[ArchiveTask]:
    """Return what is to be done with each archive.

    Raises:
        FireError: a pattern names no archive.
    """
    from ...fleet.archive_task import ArchiveTask
    from ...fleet.find_archives import find_archives

    def clean_of(archive: Path) -> Path | None:
        if args.clean is None:
            return None
        # As a file it is named without its suffix, as a folder it has none.
        name = archive.name if archive.is_dir() else archive.stem
        return Path(str(args.clean).replace(OF_EACH, name))

    return [
        ArchiveTask(
            archive,
            clean_of(archive),
            tuple(methods),
            settings,
            args.budget,
            args.seed,
            args.device,
        )
        for archive in find_archives(args.archives)
    ]
