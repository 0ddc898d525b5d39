"""`torchserve-fire screen`: whether samples are triggered."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments.engine import add_engine_arguments, check_engine_arguments, open_workers
from .arguments.model import (
    add_model_arguments,
    check_model_arguments,
    open_source,
    source_files,
)
from .arguments.report import add_report_argument, check_report, model_name
from .arguments.values import existing_file, existing_samples
from .refusal import Refusal

if TYPE_CHECKING:
    from ..samples.samples import Samples
    from ..screening.bundle_screening import BundleScreening
    from ..screening.screen_on_workers import ScreenOnWorkers
    from ..screening.screening import Screening
    from ..source.model_source import ModelSource


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "screen",
        help="say whether samples are triggered, with a bundle or with clean samples alone",
        description="Say whether samples are triggered. With a bundle: what it flags, and what "
        "its repair makes of that. With clean samples alone: how far each sample lies from those "
        "that are called the same, how often a clean one lies as far, and whether samples that "
        "are called the same differ from them as a group. Exit status: 0 nothing found, 1 found, 2 "
        "could not tell, 64 bad input.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--bundle",
        type=existing_file,
        help="judge by this direction bundle of the model (default, without --clean: the one in "
        "the --archive)",
    )
    source.add_argument(
        "--clean",
        type=existing_samples,
        help="compare with these clean samples, some hundred: a folder of images, a list of them, "
        ".csv or .jsonl, a table of rows or texts, or a .npz or .safetensors file with inputs; "
        "labels are not used",
    )
    parser.add_argument(
        "samples",
        nargs="+",
        type=existing_samples,
        metavar="SAMPLES",
        help="files, folders and lists of files, and tables of rows or texts, of which nobody "
        "knows whether they are triggered",
    )
    parser.add_argument("--csv", type=Path, help="file to write a row for each sample to")
    parser.add_argument("--json", type=Path, help="file to write all that was found to, as JSON")
    parser.add_argument(
        "--sheet",
        type=Path,
        help="file to draw images to, as PNG, the most suspicious ones first",
    )
    add_report_argument(parser)
    add_engine_arguments(parser, "run the model on the samples")
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together or cannot be written, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        FireError: a result cannot be written, or the extra for pictures is not installed.
    """
    from torchserve_fire.format.write_file import check_writable

    from ..common.environment import require_extras

    check_model_arguments(args)
    check_engine_arguments(args)
    if args.bundle is None and args.clean is None and args.archive is None:
        raise Refusal("--clean: expected clean samples to compare with, or --bundle to judge by")
    if args.sheet is not None:
        require_extras("report")
    for file in (args.csv, args.json, args.sheet):
        if file is not None:
            check_writable(file)
    check_report(args)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        UndecidedError: something that nobody foresaw went wrong: Python's own exit status would
            be 1, which says that something was found.
        Refusal: the archive holds no bundle, and neither bundle nor clean samples were given.
        FireError: what else was foreseen.
    """
    from torchserve_fire.errors import FireError, first_line

    from ..common.errors import UndecidedError

    try:
        return _screen(args)
    except (FireError, Refusal, BrokenPipeError):
        raise
    except Exception as error:
        raise UndecidedError(
            f"stopped by {type(error).__name__}, could not tell: {first_line(error)}"
        ) from error


def _screen(args: argparse.Namespace) -> int:
    """Run the command; what it raises may be anything."""
    from torchserve_fire.format.write_file import write_files

    from ..common.exit_status import status_of_finding
    from ..samples.class_label import label_of
    from ..samples.kept import keep_decoded
    from ..samples.predict import logits_of
    from ..screening.outputs import check_sheet, to_csv, to_sheet
    from ..screening.screen_samples import screen_samples
    from ..source.open_screened import open_screened

    source = open_source(args)
    samples: Samples = keep_decoded(open_screened(args.samples, source))
    if args.sheet is not None:
        check_sheet(samples)
    if args.engine is not None and samples.paths is None:
        raise Refusal(f"--engine {args.engine}: expected samples with a file for each")
    clean = [] if args.clean is None else [source.open_samples(args.clean)]
    with _elsewhere(args, source, samples) as elsewhere:
        screened: Screening | BundleScreening = (
            screen_samples(source.loaded.model, clean[0], samples, elsewhere)
            if clean
            else _by_bundle(args, source, samples, elsewhere)
        )
    classes = logits_of(source.loaded.model, samples.load([0])).shape[1]
    label = label_of(clean, classes, source.names_file)
    print("\n".join(screened.table(label)))
    files: dict[Path, bytes] = {}
    if args.csv is not None:
        files[args.csv] = to_csv(screened)
    if args.json is not None:
        files[args.json] = (
            json.dumps(screened.to_json(), indent=2, allow_nan=False) + "\n"
        ).encode()
    if args.sheet is not None:
        files[args.sheet] = to_sheet(screened, samples, label)
    write_files(files)
    for file in files:
        print(f"{file}: written")
    if args.report is not None:
        from ..report.html_report import write_html_report
        from ..report.provenance import provenance
        from ..screening.screening_report import screening_report

        report = screening_report(
            screened,
            samples,
            label,
            f"Samples beside {model_name(args)}",
            provenance(args.command_line, source),
        )
        print(f"report: {write_html_report(report, args.report)}")
    if screened.found and args.clean is not None and args.archive is not None:
        print(
            f"next, if they share a mark: torchserve-fire repair {args.archive} --clean "
            f"{args.clean} --triggered FOLDER --unpaired --output NAME-VERSION.mar, with those "
            "that do in FOLDER"
        )
    return status_of_finding(screened.found)


@contextmanager
def _elsewhere(
    args: argparse.Namespace, source: ModelSource, samples: Samples
) -> Iterator[ScreenOnWorkers | None]:
    """Yield what has workers run the model on the samples; None where this process does.

    Raises:
        FireError: the workers cannot be started.
    """
    if args.engine is None:
        yield None
        return
    from ..screening.screen_on_workers import ScreenOnWorkers, chunk_of

    chunk = chunk_of(source.loaded.model, samples.description)
    with open_workers(args) as workers:
        yield ScreenOnWorkers(workers, source_files(args), chunk)


def _by_bundle(
    args: argparse.Namespace,
    source: ModelSource,
    samples: Samples,
    elsewhere: ScreenOnWorkers | None,
) -> BundleScreening:
    """Have a bundle judge the samples.

    Raises:
        Refusal: the archive holds no bundle, and none was given.
        FireError: the bundle was built for another model, or the model fails on the samples.
    """
    from ..screening.bundle_screening import screen_with_bundle
    from ..screening.screen_on_workers import BundleFile
    from .arguments.fitting_bundle import bundle_in, load_fitting_bundle

    file = args.bundle or bundle_in(source, args.archive, "--clean with clean samples")
    bundle = load_fitting_bundle(file, source)
    # Of an older bundle the digest of the weights' file was compared above.
    allowed = source.allow_other_weights or bundle.state_sha256 is None
    read = None
    if elsewhere is not None and samples.paths is not None:
        read = partial(elsewhere.verdicts, samples.paths, BundleFile(args.bundle, allowed))
    return screen_with_bundle(
        source.loaded.model, bundle, samples, allow_other_weights=allowed, elsewhere=read
    )
