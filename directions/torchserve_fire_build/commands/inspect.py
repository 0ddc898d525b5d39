"""`torchserve-fire inspect`: whether a model looks backdoored at all."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.names import (
    DEEP_INSPECT,
    INSPECTIONS,
    INSPECTIONS_ADDED,
    META_CLASSIFIER,
    MIN_SHADOWS,
    NEURON_INSPECT,
    QUERIES,
    SALIENCY_WEIGHTS,
    SCAN,
    SEARCHES,
    SEARCHES_ADDED,
    SHADOWS,
    Choices,
)
from .arguments.cache import check_cache
from .arguments.engine import add_engine_arguments, check_engine_arguments, open_workers
from .arguments.fleet import add_archives_argument, check_fleet, clean_of_inspection, fleet_tasks
from .arguments.model import (
    add_model_arguments,
    check_model_arguments,
    open_source,
    source_files,
)
from .arguments.report import add_report_argument, check_report, model_name
from .arguments.search import (
    add_search_arguments,
    check_search_arguments,
    read_search_settings,
)
from .arguments.values import at_least, seconds, seed, zero_or_more
from .refusal import Refusal

if TYPE_CHECKING:
    from ..common.budget import Budget
    from ..inspection.inspect_on_workers import InspectOnWorkers
    from ..inspection.methods import InspectionSettings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "inspect",
        help="say whether a model, or each of many, looks backdoored, and to which class",
        description="Inspect a model with clean samples only, and print what each method finds. "
        "Exit status: 0 nothing found, 1 found, 2 could not tell, 64 bad input. With "
        "--archives, inspect many.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    add_archives_argument(parser)
    parser.add_argument(
        "--clean",
        type=clean_of_inspection,
        help="clean samples: a folder of images, with one subfolder per class, or flat; a table of "
        "rows or texts; or a .npz or .safetensors file with inputs and labels; not needed by "
        "methods that do without images. Beside --archives, one for all; or a path with {archive} "
        "in it, which stands for the name of each archive without its suffix, as in "
        "'samples/{archive}/clean'",
    )
    parser.add_argument(
        "--method",
        nargs="+",
        choices=Choices(INSPECTIONS, SEARCHES_ADDED, INSPECTIONS_ADDED),
        metavar="NAME",
        help=f"{SCAN} (the default): looks at all classes together, then at a few closely, and "
        "returns one probability; takes hardly longer for a thousand classes than for ten. Methods "
        f"of the literature, which search class by class: {', '.join(SEARCHES)}: "
        f"classes to which a reconstructed trigger leads with less than to others, {DEEP_INSPECT} "
        f"without --clean on images that it recovers from the model; {NEURON_INSPECT}: outliers "
        f"among the classes' saliency maps, a hint, which decides nothing; {META_CLASSIFIER}: "
        "trained on the answers of shadow models with and without backdoors, takes as long as "
        "training these; also what an installed package adds",
    )
    parser.add_argument(
        "--shadows",
        type=at_least(MIN_SHADOWS),
        default=SHADOWS,
        help=f"shadow models of the {META_CLASSIFIER}, half of them with a backdoor (default: "
        "%(default)s; its paper: 4096)",
    )
    parser.add_argument(
        "--queries",
        type=at_least(1),
        metavar="N",
        help=f"of the {META_CLASSIFIER}: query inputs that it learns to put to a model "
        f"(default: {QUERIES})",
    )
    parser.add_argument(
        "--saliency-weights",
        type=zero_or_more(),
        nargs=3,
        metavar=("SPARSE", "SMOOTH", "PERSISTENT"),
        help=f"of {NEURON_INSPECT}: how much each of the three features of a class's saliency maps "
        f"counts (default: {' '.join(f'{weight:g}' for weight in SALIENCY_WEIGHTS)})",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps what the finished steps of a scan result in, and the shadow "
        "models: an inspection that was interrupted goes on from there when it is started again "
        "with the same model, samples and options, and one of another model of the same task uses "
        "the shadow models, too; of --archives also what was found in each: whatever is unchanged "
        "is not inspected again",
    )
    parser.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="of all methods, in seconds, or as 90s, 2m or 1.5h, and in equal shares: a scan takes "
        "shorter steps, and says so; a search "
        "for triggers that has not gone through all "
        "classes by then could not tell; neuron-inspect and meta-classifier do with what they have "
        "(default: no limit)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the random numbers (default: 0)")
    parser.add_argument("--json", type=Path, help="file to write the findings to, as JSON")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="folder to write pictures to: the anomaly indices as anomaly.png, and a picture for "
        "each class as METHOD.png",
    )
    add_report_argument(parser)
    add_engine_arguments(
        parser, "inspect --archives, or do the methods, classes and steps of one inspection"
    )
    add_search_arguments(parser, to_the_end=False)
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together or cannot be written, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        FireError: a result cannot be written, or the extra for pictures is not installed.
    """
    from torchserve_fire.format.write_file import check_folder, check_writable

    from ..common.environment import require_extras

    check_fleet(args)
    check_engine_arguments(args)
    if args.archives is None:
        check_model_arguments(args)
    names = _methods(args)
    needy = [name for name in names if name != DEEP_INSPECT]
    if args.clean is None and needy:
        raise Refusal(
            f"--clean: expected clean samples, which {needy[0]} needs; --method {DEEP_INSPECT} "
            "does without, for models of images"
        )
    for flag, value, method in (
        ("--queries", args.queries, META_CLASSIFIER),
        ("--saliency-weights", args.saliency_weights, NEURON_INSPECT),
    ):
        if value is not None and method not in names:
            raise Refusal(f"{flag}: expected beside --method {method}, which takes it")
    if args.saliency_weights is not None and not any(args.saliency_weights):
        raise Refusal("--saliency-weights 0 0 0: expected one of them above 0")
    check_search_arguments(args, names)
    if args.json is not None:
        check_writable(args.json)
    if args.pictures is not None:
        require_extras("report")
        check_folder(args.pictures, ())
    check_report(args)
    check_cache(args.cache)


def _methods(args: argparse.Namespace) -> list[str]:
    """Return the methods to run."""
    return list(dict.fromkeys(args.method or [SCAN]))


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        UndecidedError: something that nobody foresaw went wrong: Python's own exit status would
            be 1, which says that a backdoor was found.
        FireError: what was foreseen.
    """
    from torchserve_fire.errors import FireError, first_line

    from ..common.errors import UndecidedError

    try:
        return _inspect(args) if args.archives is None else _inspect_fleet(args)
    except (FireError, BrokenPipeError):
        raise
    except Exception as error:
        raise UndecidedError(
            f"stopped by {type(error).__name__}, could not tell: {first_line(error)}"
        ) from error


def _inspect(args: argparse.Namespace) -> int:
    """Run the command on a model; what it raises may be anything."""
    from ..common.budget import Budget
    from ..inspection.anomaly_picture import check_picture_folder, write_pictures
    from ..inspection.inspect_model import inspect_model
    from ..inspection.open_clean import open_clean

    names = _methods(args)
    if args.pictures is not None:
        check_picture_folder(args.pictures, names)
    budget = Budget(args.budget)
    source = open_source(args)
    clean = open_clean(source, args.clean, names)
    print("methods: " + ", ".join(names) + ("" if args.method else " (the default)"))
    with _elsewhere(args, budget) as elsewhere:
        findings = inspect_model(
            source.loaded.model,
            clean,
            methods=names,
            settings=_settings(args),
            budget=budget,
            seed=args.seed,
            names_file=source.names_file,
            elsewhere=elsewhere,
        )
    print("\n".join(findings.table()))
    _write_json(findings.to_json(), args.json)
    if args.pictures is not None:
        files = write_pictures(findings.runs, args.pictures, findings.label)
        for file in files:
            print(f"picture: {file}")
        if not files:
            print(f"pictures: none in {args.pictures}, as no method compared the classes")
    if args.report is not None:
        from ..inspection.inspection_report import inspection_report
        from ..report.html_report import write_html_report
        from ..report.provenance import provenance

        report = inspection_report(
            findings,
            f"Inspection of {model_name(args)}",
            provenance(args.command_line, source),
        )
        print(f"report: {write_html_report(report, args.report)}")
    return findings.status


@contextmanager
def _elsewhere(args: argparse.Namespace, budget: Budget) -> Iterator[InspectOnWorkers | None]:
    """Yield what has workers inspect the model; None where this process does.

    Raises:
        FireError: the workers cannot be started.
    """
    if args.engine is None:
        yield None
        return
    from ..inspection.inspect_on_workers import InspectedFiles, InspectOnWorkers

    inspected = InspectedFiles(source_files(args), args.clean)
    with open_workers(args) as workers:
        yield InspectOnWorkers(workers, inspected, _settings(args), budget, args.seed)


def _inspect_fleet(args: argparse.Namespace) -> int:
    """Run the command on many archives; what it raises may be anything."""
    from ..fleet.inspect_fleet import inspect_fleet

    tasks = fleet_tasks(args, _methods(args), _settings(args))
    with open_workers(args) as workers:
        findings = inspect_fleet(tasks, workers, args.cache)
    print("\n".join(findings.table()))
    _write_json(findings.to_json(), args.json)
    return findings.status


def _settings(args: argparse.Namespace) -> InspectionSettings:
    """Return what the flags set of the methods."""
    from ..inspection.methods import InspectionSettings

    return InspectionSettings(
        shadows=args.shadows,
        cache=args.cache,
        queries=QUERIES if args.queries is None else args.queries,
        saliency_weights=_saliency_weights(args.saliency_weights),
        search=read_search_settings(args),
    )


def _write_json(values: Mapping[str, Any], file: Path | None) -> None:
    """Write findings to a file, where one was asked for."""
    from torchserve_fire.format.write_file import write_file

    if file is not None:
        write_file((json.dumps(values, indent=2, allow_nan=False) + "\n").encode(), file)


def _saliency_weights(given: Sequence[float] | None) -> Mapping[str, float]:
    """Return the weights by name, the largest of those that were given as 1."""
    from ..inspection.neuron_inspect import WEIGHTS

    if given is None:
        return WEIGHTS
    return {name: weight / max(given) for name, weight in zip(WEIGHTS, given, strict=True)}
