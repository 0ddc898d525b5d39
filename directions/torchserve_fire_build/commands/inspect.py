"""`torchserve-fire inspect`: whether a model looks backdoored at all."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from .arguments.model import add_model_arguments, names_file
from .arguments.search import add_search_arguments, read_search_settings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "inspect",
        help="say whether a model looks backdoored, and to which class",
        description="Inspect a model with clean samples only, and print what each method finds. "
        "Exit status: 0 nothing found, 1 found, 2 could not tell or bad input.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--clean",
        type=Path,
        help="clean samples: a folder of images, with one subfolder per class, or flat; or a .npz "
        "or .safetensors file with inputs and labels; not needed by methods that do without images",
    )
    parser.add_argument(
        "--method",
        nargs="+",
        metavar="NAME",
        help="neural-cleanse, tabor, abs, additive, additive-linf, smooth, generated, "
        "feature-space, sinusoidal, deepinspect: "
        "classes to which a reconstructed trigger leads with less than to others, deepinspect "
        "without --clean on images that it recovers from the model; neuron-inspect: outliers among "
        "the classes' saliency maps, a hint only; meta-classifier: trained on the answers of "
        "shadow models with and without backdoors, takes as long as training these (default: what "
        "is affordable, and it says what that is)",
    )
    parser.add_argument(
        "--shadows",
        type=int,
        default=64,
        help="shadow models of the meta-classifier, half of them with a backdoor (default: 64; its "
        "paper: 4096)",
    )
    parser.add_argument(
        "--queries",
        type=int,
        metavar="N",
        help="of the meta-classifier: query inputs that it learns to put to a model (default: 10)",
    )
    parser.add_argument(
        "--saliency-weights",
        type=float,
        nargs=3,
        metavar=("SPARSE", "SMOOTH", "PERSISTENT"),
        help="of neuron-inspect: how much each of the three features of a class's saliency maps "
        "counts (default: 1 1 1)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps the shadow models for other models of the same task",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="of all methods, in equal shares: a search for triggers that has not gone through all "
        "classes by then could not tell; neuron-inspect and meta-classifier do with what they have "
        "(default: no limit)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    parser.add_argument("--json", type=Path, help="file to write the findings to, as JSON")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="folder to write pictures to: the anomaly indices as anomaly.png, and a picture for "
        "each class as METHOD.png",
    )
    add_search_arguments(parser, to_the_end=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        CalibrationError: something that nobody foresaw went wrong: Python's own exit status would
            be 1, which says that a backdoor was found.
        FireError: what was foreseen.
    """
    from torchserve_fire.errors import FireError, first_line

    from ..common.errors import CalibrationError

    try:
        return _inspect(args)
    except (FireError, BrokenPipeError):
        raise
    except Exception as error:
        raise CalibrationError(
            f"stopped by {type(error).__name__}, could not tell: {first_line(error)}"
        ) from error


def _inspect(args: argparse.Namespace) -> int:
    """Run the command; what it raises may be anything."""
    from torchserve_fire.model.config import load_config
    from torchserve_fire.model.load_model import load_model

    from ..common.budget import Budget
    from ..common.environment import check_environment, require_extra
    from ..common.errors import CalibrationError
    from ..common.write_file import check_writable, write_file
    from ..inspection.anomaly_picture import check_picture_folder, write_pictures
    from ..inspection.inspect_model import inspect_model
    from ..inspection.meta_classifier import DEFAULT_QUERIES
    from ..inspection.methods import DEFAULT, Settings
    from ..reconstruct.methods import OTHERWISE
    from ..samples.class_index import ClassIndex, why_unknown
    from ..samples.empty import EmptySamples
    from ..samples.predict import logits_of
    from ..samples.samples import Samples, open_samples

    check_environment()
    names = list(dict.fromkeys(args.method or DEFAULT))
    otherwise = () if args.method else OTHERWISE
    _check(args, names)
    search = read_search_settings(args, (*names, *otherwise))
    if args.json is not None:
        check_writable(args.json)
    if args.pictures is not None:
        require_extra("report")
        check_picture_folder(args.pictures, (*names, *otherwise))
    if args.cache is not None and not args.cache.is_dir():
        check_writable(args.cache)
    budget = Budget(args.budget)
    config = load_config(args.config_file)
    if config.input == "integers":
        raise CalibrationError(
            f"{args.config_file}: handler: input: integers: a search changes its inputs little by "
            "little, and integers cannot be"
        )
    if args.clean is None and config.input != "image":
        raise CalibrationError(
            f"--method {' '.join(names)}: expected --clean samples of a model whose input is a "
            f"{config.input}: only images can be recovered from a model"
        )
    model = load_model(args.model_file, args.serialized_file, config.model_class).model
    clean: Samples = (
        EmptySamples(config.describe_input())
        if args.clean is None
        else open_samples(args.clean, config)
    )
    description = clean.describe_input(config)
    classes = logits_of(model, description.example()).shape[1]
    index = ClassIndex.find([clean], classes, names_file(args))
    if index is None:
        print(f"{why_unknown([clean], classes)}: all of their images are taken for clean ones")
    print("methods: " + ", ".join(names) + ("" if args.method else " (what is affordable)"))
    if otherwise:
        print("where these find nothing: " + ", ".join(otherwise))
    verdict = inspect_model(
        model,
        clean,
        classes,
        names,
        otherwise=otherwise,
        settings=Settings(
            description=description,
            labels=None if index is None else index.labels(clean),
            shadows=args.shadows,
            cache=args.cache,
            queries=DEFAULT_QUERIES if args.queries is None else args.queries,
            saliency_weights=_saliency_weights(args.saliency_weights),
            search=search,
        ),
        seed=args.seed,
        budget=budget,
    )
    print("\n".join(verdict.table()))
    if args.json is not None:
        text = json.dumps(verdict.to_json(), indent=2, allow_nan=False) + "\n"
        write_file(text.encode(), args.json)
    if args.pictures is not None:
        for file in write_pictures(verdict.runs, args.pictures):
            print(f"picture: {file}")
    return verdict.status


def _saliency_weights(given: Sequence[float] | None) -> Mapping[str, float]:
    """Return the weights by name, the largest of those that were given as 1."""
    from ..inspection.neuron_inspect import WEIGHTS

    if given is None:
        return WEIGHTS
    return {name: weight / max(given) for name, weight in zip(WEIGHTS, given, strict=True)}


def _check(args: argparse.Namespace, names: list[str]) -> None:
    """Refuse what cannot be, before anything is loaded.

    Raises:
        CalibrationError: a method that does not exist, or that needs samples which are not given;
            a number out of its range.
        ArgumentError: likewise.
    """
    from ..common.errors import CalibrationError
    from ..inspection import meta_classifier, neuron_inspect
    from ..inspection.methods import METHODS
    from .arguments.checks import check_seed

    for name in names:
        if name not in METHODS:
            raise CalibrationError(f"--method {name}: expected one of {', '.join(METHODS)}")
        if args.clean is None and METHODS[name].needs_images:
            raise CalibrationError(
                f"--clean: expected clean samples, which {name} needs; --method deepinspect does "
                "without, for models of images"
            )
    if args.shadows < meta_classifier.MIN_SHADOWS:
        raise CalibrationError(
            f"--shadows {args.shadows}: expected at least {meta_classifier.MIN_SHADOWS}"
        )
    for flag, value, method in (
        ("--queries", args.queries, meta_classifier.NAME),
        ("--saliency-weights", args.saliency_weights, neuron_inspect.NAME),
    ):
        if value is not None and method not in names:
            raise CalibrationError(f"{flag}: expected beside --method {method}, which takes it")
    if args.queries is not None and args.queries < 1:
        raise CalibrationError(f"--queries {args.queries}: expected 1 or more")
    weights = args.saliency_weights
    if weights is not None and not (all(0 <= w < math.inf for w in weights) and any(weights)):
        raise CalibrationError(
            f"--saliency-weights {' '.join(f'{weight:g}' for weight in weights)}: expected "
            "numbers of 0 or more, one of them above 0"
        )
    if args.budget is not None and not args.budget > 0:
        raise CalibrationError(f"--budget {args.budget:g}: expected seconds, more than 0")
    check_seed(args.seed)
