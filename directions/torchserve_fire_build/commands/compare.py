"""`torchserve-fire compare`: all defences on one model, on samples that none of them saw."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..common.names import OURS, RIVALS
from .arguments.cache import check_cache
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
from .arguments.values import at_least, existing_samples, seed, target
from .refusal import Refusal

DEFENCES = (OURS, *RIVALS)
TABLES = ("json", "csv", "latex")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "compare",
        help="compare all defences on a model, on samples that none of them saw",
        description="Build this project's repair and other defences from the same calibration "
        "samples, in several draws, and measure them on test samples that none of them saw: clean "
        "accuracy (BA), attack success rate (ASR) and recovered accuracy (RA), each with a 95 % "
        "interval, and what they cost. The samples need the true classes. A defence that is not "
        "applicable to the model, or fails, is a row that says why.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    add_clean_argument(parser)
    add_triggered_argument(parser)
    parser.add_argument(
        "--test-clean",
        type=existing_samples,
        help="clean samples to measure on, others than those of --clean (default: half of --clean "
        "and of --triggered is held out; the two samples of a pair stay together)",
    )
    parser.add_argument(
        "--test-triggered", type=existing_samples, help="triggered samples to measure on, likewise"
    )
    add_unpaired_argument(parser)
    add_accept_accuracy_argument(parser)
    parser.add_argument(
        "--target",
        type=target,
        default="auto",
        metavar="CLASS",
        help="index or name of the class that the trigger leads to (default: auto)",
    )
    parser.add_argument(
        "--defences",
        nargs="+",
        metavar="NAME",
        choices=DEFENCES,
        default=DEFENCES,
        help=f"what to compare: {', '.join(DEFENCES)} (default: all; patching and retraining take "
        "longest)",
    )
    parser.add_argument(
        "--draws",
        type=at_least(1),
        default=3,
        metavar="N",
        help="draws of the calibration samples; each defence is built from each (default: 3)",
    )
    parser.add_argument(
        "--calibration",
        type=at_least(1),
        metavar="N",
        help="triggered samples of each draw; with them come their clean partners (default: three "
        "quarters of those that there are, 200 at most)",
    )
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="of what is held out, and of the first draw; each further one has the next "
        "(default: 0)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps each finished measurement: a comparison that was interrupted goes "
        "on from there when it is started again with the same model and samples, also with more "
        "draws or other defences",
    )
    for kind, what in (
        ("json", "all draws, too"),
        ("csv", "a line for each defence"),
        ("latex", "a tabular"),
    ):
        parser.add_argument(
            f"--{kind}", type=Path, metavar="FILE", help=f"file to write the table to: {what}"
        )
    add_report_argument(parser)
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together or cannot be written, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        OutputError: a table cannot be written.
    """
    from torchserve_fire.format.write_file import check_writable

    check_model_arguments(args)
    if (args.test_clean is None) != (args.test_triggered is None):
        raise Refusal("--test-clean and --test-triggered: expected both, or neither")
    twice = next((name for name in args.defences if args.defences.count(name) > 1), None)
    if twice is not None:
        raise Refusal(f"--defences: {twice} is named twice")
    files = [path for kind in TABLES if (path := getattr(args, kind)) is not None]
    if len({path.resolve() for path in files}) < len(files):
        raise Refusal("--json, --csv and --latex: expected a file of its own for each")
    for path in files:
        check_writable(path)
    check_cache(args.cache)
    check_report(args)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.format.write_file import write_files

    from ..comparison.compare import Options, compare
    from ..comparison.csv_table import csv_table
    from ..comparison.json_table import json_table
    from ..comparison.latex_table import latex_table
    from ..comparison.subject import Given, read_subject
    from ..comparison.summary import summarise
    from ..comparison.text_table import text_table
    from .arguments.target import target_class

    source = open_source(args)
    clean, triggered = source.open_samples(args.clean), source.open_samples(args.triggered)
    test = None
    if args.test_clean is not None:
        test = source.open_samples(args.test_clean), source.open_samples(args.test_triggered)
    subject = read_subject(
        source.loaded,
        Given(clean, triggered, test),
        reload=lambda: source.with_weights(source.weights_file).model,
        names_file=source.names_file,
        unpaired=args.unpaired,
        target=target_class(args, source, clean, triggered),
        seed=args.seed,
        accept_accuracy=args.accept_accuracy,
    )
    options = Options(args.defences, args.draws, args.calibration, args.seed, args.cache)
    summary = summarise(subject, options, compare(subject, options))
    writers = {"json": json_table, "csv": csv_table, "latex": latex_table}
    files = {
        path: write(summary).encode()
        for kind, write in writers.items()
        if (path := getattr(args, kind)) is not None
    }
    write_files(files)
    print("\n".join(["", *text_table(summary)]))
    if args.report is not None:
        from ..comparison.comparison_report import comparison_report
        from ..report.html_report import write_html_report
        from ..report.provenance import provenance

        report = comparison_report(
            summary,
            f"Defences of {model_name(args)}",
            provenance(args.command_line, source),
        )
        print(f"report: {write_html_report(report, args.report)}")
    return 0
