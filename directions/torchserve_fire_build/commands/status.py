"""`torchserve-fire status`: what a running server serves, and what it has flagged."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .arguments.server import add_management_arguments, explained, find_addresses, server_tokens

if TYPE_CHECKING:
    from ..deployment.client.served_versions import ServedVersion

HEADINGS = (
    "model",
    "version",
    "default",
    "workers",
    "mode",
    "bundle",
    "judged",
    "flagged",
    "bad",
    "drift",
)
NO_DRIFT = "drift: '-' before a worker has 500 scores"
DIGITS = 12
"""Of a bundle's digest in the table."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "status",
        help="show every served version: its bundle, mode, flagged share and drift",
        description="Show every version of every model: whether it is the default, its workers, "
        "its mode and bundle, how many requests its workers have judged and flagged since they "
        "started, how many bad inputs they refused, and the drift: -log10 of the probability that "
        "the latest 500 scores of a worker differ by chance as much as they do from those of the "
        "clean calibration samples (above 4, see why; '-' before one has that many). Below the "
        "table stands which workers go by another bundle than most, or refused a newer one. The "
        "question waits in the queue of each model. A worker that does not answer it holds no "
        "repair, or is busy.",
        allow_abbrev=False,
    )
    add_management_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, with every count")
    parser.set_defaults(run=run, extras=("torchserve",))


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import json
    from dataclasses import asdict

    from ..deployment.client.management import Management
    from ..deployment.client.served_versions import served_versions

    find_addresses(args)
    tokens = server_tokens(args)
    with explained(args, tokens):
        served = served_versions(Management(args.management, tokens.management, args.ca))
    if args.json:
        values = [asdict(one) | {"flagged_share": one.flagged_share} for one in served]
        print(json.dumps(values, indent=2))
        return 0
    rows = [HEADINGS, *(_row(one) for one in served)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    if any(one.answered and not any(v is not None for v in one.drift.values()) for one in served):
        print(NO_DRIFT)
    for one in served:
        if one.workers and not one.answered:
            why = "plain archive, no repair" if one.plain else "no repair, or its workers are busy"
            print(f"{one.model} {one.version}: {why}")
        for line in _differences(one):
            print(f"{one.model} {one.version}: {line}")
    return 0


def _differences(one: ServedVersion) -> list[str]:
    """Return which workers go by another bundle than most, and which refused a newer one."""
    lines = [
        f"worker {pid} goes by another bundle: {(bundle or '-')[:DIGITS]}"
        for pid, bundle in one.bundles.items()
        if bundle != one.bundle
    ]
    return lines + [
        f"worker {pid} did not take the newest bundle of its folder: {reason}"
        for pid, reason in one.refused.items()
    ]


def _row(one: ServedVersion) -> Sequence[str]:
    drift = [value for value in one.drift.values() if value is not None]
    share = one.flagged_share
    return (
        one.model,
        one.version,
        "yes" if one.default else "",
        f"{one.workers} of {max(one.workers, one.min_workers)}"
        + ("" if one.answered == one.workers else f", {one.answered} answered"),
        one.mode or "-",
        (one.bundle or "-")[:DIGITS],
        str(one.judged),
        str(one.flagged) if share is None else f"{one.flagged} ({100 * share:.2f} %)",
        str(sum(one.bad_inputs.values())),
        f"{max(drift):.1f}" if drift else "-",
    )
