"""The argument of commands that write a report to hand on."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_report_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--report`."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="folder to write a report to: report.html, one page to hand on that needs no "
        "network, and its figures as .json, .csv and .tex",
    )


def check_report(args: argparse.Namespace) -> None:
    """Refuse a folder that cannot take a report, before torch is loaded.

    Raises:
        FireError: it cannot, or the extra for reports is not installed.
    """
    if args.report is None:
        return
    from ...common.environment import require_extras

    require_extras("report")
    from ...report.html_report import check_report_files

    check_report_files(args.report)


def model_name(args: argparse.Namespace) -> str:
    """Return what the model was given as, for a report's title."""
    return Path(args.archive or args.serialized_file).name
