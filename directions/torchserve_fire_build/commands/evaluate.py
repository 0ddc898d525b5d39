"""`torchserve-fire evaluate`: what a bundle does on samples that its build never saw."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .arguments.model import (
    add_accept_accuracy_argument,
    add_clean_argument,
    add_model_arguments,
    add_triggered_argument,
    add_unpaired_argument,
    check_model_arguments,
    open_source,
)
from .arguments.report import add_report_argument, check_report, model_name
from .arguments.values import existing_file
from .refusal import Refusal


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a bundle on clean and triggered samples",
        description="Print clean accuracy, attack success rate and recovered accuracy before and "
        "after repair. Use samples that the build did not see. Without labels, the agreement with "
        "the model's own predictions stands in the place of the accuracy.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--bundle",
        type=existing_file,
        help="the direction bundle (default: the one in the --archive)",
    )
    add_clean_argument(parser)
    add_triggered_argument(parser)
    add_unpaired_argument(parser)
    add_accept_accuracy_argument(parser)
    parser.add_argument("--json", type=Path, help="file to write the figures to, as JSON")
    add_report_argument(parser)
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together or cannot be written, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        FireError: figures cannot be written.
    """
    from torchserve_fire.format.write_file import check_writable

    check_model_arguments(args)
    if args.bundle is None and args.archive is None:
        raise Refusal("--bundle: expected the direction bundle to measure")
    if args.json is not None:
        check_writable(args.json)
    check_report(args)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.format.write_file import write_file

    from ..measure.evaluate import evaluate_samples
    from .arguments.fitting_bundle import bundle_in, load_fitting_bundle

    source = open_source(args)
    file = args.bundle or bundle_in(source, args.archive, "an archive that repair has written")
    bundle = load_fitting_bundle(file, source)
    evaluation = evaluate_samples(
        source.loaded.model,
        bundle,
        source.open_samples(args.clean),
        source.open_samples(args.triggered),
        names_file=source.names_file,
        unpaired=args.unpaired,
        accept_accuracy=args.accept_accuracy,
        # Of an older bundle the digest of the weights' file was compared above.
        allow_other_weights=source.allow_other_weights or bundle.state_sha256 is None,
    )
    figures = evaluation.figures
    print("\n".join(figures.table(evaluation.observation.label)))
    if args.json is not None:
        text = json.dumps(figures.to_json(), indent=2, sort_keys=True) + "\n"
        write_file(text.encode(), args.json)
    if args.report is not None:
        from ..report.evaluation_report import evaluation_report
        from ..report.html_report import write_html_report
        from ..report.provenance import provenance

        report = evaluation_report(
            evaluation,
            evaluation.observation.label,
            f"Evaluation of {model_name(args)}",
            provenance(args.command_line, source, bundle),
        )
        print(f"report: {write_html_report(report, args.report)}")
    return 0
