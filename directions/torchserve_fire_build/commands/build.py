"""`torchserve-fire build`: from calibration samples to a direction bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..common.names import (
    ALL_SEARCHES,
    AUGMENT,
    COMPONENTS,
    DEEP_INSPECT,
    FORMS,
    OTHERWISE,
    REDUCING,
    SPLITS,
    SPLITS_ADDED,
    Choices,
)
from .arguments.build_sources import check_source
from .arguments.cache import add_cache_argument, check_cache
from .arguments.clean_to_search import check_clean_to_search
from .arguments.engine import add_engine_arguments, check_engine_arguments
from .arguments.model import (
    add_accept_accuracy_argument,
    add_clean_argument,
    add_model_arguments,
    add_triggered_argument,
    add_unpaired_argument,
    check_model_arguments,
    open_source,
)
from .arguments.reconstruct import add_reconstruct_argument, searches
from .arguments.search import (
    add_search_arguments,
    check_search_arguments,
)
from .arguments.values import (
    at_least,
    bundle_to_write,
    existing_file,
    existing_samples,
    seconds,
    seed,
    target,
)
from .refusal import Refusal


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "build",
        help="build a direction bundle from calibration samples",
        description="Estimate the directions along which a trigger moves a model's features, "
        "choose on held-out samples where to detect and where to repair, and write the bundle. "
        "Exit status 3: no trigger was found in the --pool, in what --refine is given, or in the "
        "model by --reconstruct, and nothing was written.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    add_clean_argument(parser, required=False)
    source = parser.add_mutually_exclusive_group(required=True)
    add_triggered_argument(source, required=False)
    source.add_argument(
        "--pool",
        type=existing_samples,
        help="samples of which nobody knows which are triggered, as logged traffic or a training "
        "set, likewise; labels are not used. The triggered ones are found first; without --clean, "
        "the others are the clean ones",
    )
    add_unpaired_argument(parser)
    add_accept_accuracy_argument(parser)
    parser.add_argument(
        "--refine",
        type=existing_file,
        metavar="BUNDLE",
        help="the --triggered samples are what this bundle of the model flagged in production, "
        "rightly or not: those that do not show its trigger are left out first",
    )
    parser.add_argument(
        "--split-by",
        choices=Choices(SPLITS, SPLITS_ADDED),
        metavar="NAME",
        help="how to find the triggered samples of a --pool, or among those that --refine is "
        f"given: {', '.join(SPLITS)}, or what an installed package adds "
        f"(default: {SPLITS[0]})",
    )
    parser.add_argument(
        "--components",
        type=at_least(1),
        metavar="N",
        help=f"of {REDUCING}: dimensions that the features of a class are reduced to "
        f"(default: {COMPONENTS})",
    )
    add_reconstruct_argument(
        source,
        help="search the model for its trigger, with clean samples alone, by one method or by all: "
        f"{', '.join(ALL_SEARCHES)}, and {', '.join(OTHERWISE)} where these find nothing. "
        f"Without --clean, {DEEP_INSPECT} searches on images that it recovers from the model. For "
        "images; of tables, all looks for a few fields. It takes minutes, for large models hours: "
        "see --budget",
    )
    parser.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="of --reconstruct, in seconds, or as 90s, 2m or 1.5h: for its searches, one after "
        "the other, those of all in the order in which they are listed. No more are "
        "then started, and a bundle is built from the "
        "triggers found so far. Where no method has compared all classes by then and found one "
        "that stands out, there is none: name a quicker search, as additive, or the --target, or "
        "give more (default: no limit)",
    )
    parser.add_argument(
        "--layers",
        default="auto",
        help="candidate layers, comma-separated module names (default: auto)",
    )
    parser.add_argument(
        "--target",
        type=target,
        default="auto",
        metavar="CLASS",
        help="index or name of the class that the trigger leads to (default: auto)",
    )
    parser.add_argument(
        "--form",
        choices=FORMS,
        default=FORMS[0],
        help="gated: judge each input and move the flagged ones (default); shift: move every "
        "input; clamp: move every input whose projection exceeds its clean range",
    )
    parser.add_argument(
        "--augment",
        choices=AUGMENT,
        default=AUGMENT[0],
        help="which altered triggers of images to repair, too, as far as the model obeys them: "
        "standard: moved, weaker, repeated, recoloured, compressed; strong: also stronger, "
        "flipped, scaled, blurred; none: the trigger as it is alone, in less time "
        f"(default: {AUGMENT[0]})",
    )
    add_cache_argument(
        parser,
        besides=". Of --reconstruct all, the scan goes on, too; other searches are made again",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the random numbers (default: 0)")
    parser.add_argument(
        "--output", required=True, type=bundle_to_write, help="the bundle, .safetensors"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="folder to write a report to: what detecting and repairing at each candidate layer, "
        "and other strengths, come to on the held-out samples, as report.html, layers.png and "
        "report.json; for several targets one each, in its subfolders class_N. Of a --pool, and of "
        "what --refine is given, also what was found in it: all samples in samples.csv, those that "
        "look triggered in flagged.png",
    )
    add_engine_arguments(parser, "run the model on the --pool")
    add_search_arguments(parser, to_the_end=True)
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together or cannot be written, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        FireError: a result cannot be written, or the extra for a report is not installed.
    """
    from torchserve_fire.format.write_file import check_folder, check_writable

    from ..common.environment import require_extras

    check_model_arguments(args)
    if args.budget is not None and args.reconstruct is None:
        raise Refusal("--budget: expected beside --reconstruct, which it bounds")
    sought = searches(args.reconstruct)
    check_search_arguments(args, (*sought.methods, *sought.otherwise))
    check_source(args)
    check_engine_arguments(args)
    if args.reconstruct is not None:
        check_clean_to_search(args.clean, args.reconstruct)
    check_writable(args.output)
    check_cache(args.cache)
    if args.report is not None:
        require_extras("report")
        check_folder(args.report, ())


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.format.bundle_file import save_bundle
    from torchserve_fire.format.bundle_signature import signature_path
    from torchserve_fire.format.digest import file_sha256

    from ..report.build_report import check_report_folder, write_reports
    from .arguments.build_sources import build_from_sources
    from .arguments.clean_to_search import refuse_integers

    if args.report is not None:
        check_report_folder(args.report)
    source = open_source(args)
    if args.reconstruct is not None:
        refuse_integers(source.input_kind)
    built = build_from_sources(args, source)
    before = file_sha256(args.output) if args.output.exists() else None
    saved = save_bundle(built.bundle, args.output)
    print(f"{args.output}: sha256 {saved.digest}")
    signature = signature_path(args.output)
    if signature.exists() and saved.digest != before:
        print(f"{signature}: of what was there before: sign this bundle (torchserve-fire sign)")
    # After the bundle, so that a report which fails or is interrupted takes no bundle with it.
    if args.report is not None:
        if built.split is not None and built.split_samples is not None:
            from ..report.pool_report import write_split_report

            write_split_report(built.split, built.split_samples, args.report, built.label)
        from ..report.provenance import provenance

        made_by = provenance(args.command_line, source, saved)
        for folder in write_reports(
            built.records, built.figures, saved, made_by, args.report, built.label
        ):
            print(f"report: {folder}")
    return 0
