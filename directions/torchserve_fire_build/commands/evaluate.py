"""`torchserve-fire evaluate`: what a bundle does on samples that its build never saw."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .arguments.model import (
    add_clean_argument,
    add_model_arguments,
    add_triggered_argument,
    add_unpaired_argument,
    load_settings,
    names_file,
)
from .arguments.values import existing_file


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a bundle on labelled clean and triggered samples",
        description="Print clean accuracy, attack success rate and recovered accuracy before and "
        "after repair. Use samples that the build did not see.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    parser.add_argument("--bundle", required=True, type=existing_file, help="the direction bundle")
    add_clean_argument(parser, labelled=True)
    add_triggered_argument(parser)
    add_unpaired_argument(parser)
    parser.add_argument("--json", type=Path, help="file to write the figures to, as JSON")
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse figures that could not be written, before torch is loaded.

    Raises:
        OutputError: they cannot be.
    """
    from torchserve_fire.format.write_file import check_writable

    if args.json is not None:
        check_writable(args.json)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.format.write_file import write_file
    from torchserve_fire.model.load_model import load_model

    from ..measure.evaluate import evaluate_bundle
    from ..samples.open_samples import open_samples
    from .arguments.fitting_bundle import load_fitting_bundle

    config = load_settings(args)
    loaded = load_model(args.model_file, args.serialized_file, config.model_class)
    bundle = load_fitting_bundle(args.bundle, config, loaded)
    figures = evaluate_bundle(
        loaded.model,
        bundle,
        open_samples(args.clean, config),
        open_samples(args.triggered, config),
        names_file=names_file(args),
        unpaired=args.unpaired,
        # Of an older bundle the digest of the weights' file was compared above.
        allow_other_weights=config.allow_other_weights or bundle.state_sha256 is None,
    )
    print("\n".join(figures.table()))
    if args.json is not None:
        text = json.dumps(figures.to_json(), indent=2, sort_keys=True) + "\n"
        write_file(text.encode(), args.json)
    return 0
