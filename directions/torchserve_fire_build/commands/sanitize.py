"""`torchserve-fire sanitize`: new weights, for those who can change them after all."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.names import (
    ACCURACY_LOSS,
    DEEP_INSPECT,
    EPOCHS,
    RATE,
    RETRAINING_EPOCHS,
    SANITIZERS,
    SANITIZERS_ADDED,
    STAMPED,
    Choices,
)
from .arguments.clean_to_search import check_clean_to_search
from .arguments.model import add_model_arguments, check_model_arguments, open_source
from .arguments.reconstruct import add_reconstruct_argument
from .arguments.values import (
    above_zero,
    at_least,
    existing_file,
    existing_samples,
    seconds,
    seed,
    target,
    zero_or_more,
)
from .refusal import Refusal

if TYPE_CHECKING:
    from ..reconstruct.reconstruction import Reconstruction
    from ..sanitize.labelled_samples import LabelledSamples
    from ..source.model_source import ModelSource


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "sanitize",
        help="write new weights, by a classical repair that changes them",
        description="Repair a model by changing its weights: the new ones are for package, with "
        "the same model file. A bundle built for the old weights does not fit the new ones "
        "(weights_sha256): package these without one, in mode off, or build another. "
        "Exit status 3: patch found no trigger in the model, and nothing was written.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--method",
        required=True,
        choices=Choices(SANITIZERS, SANITIZERS_ADDED),
        metavar="NAME",
        help="fine-tune: train on the clean samples; retrain: train the model class on them from "
        "its first weights; patch: search the model for its trigger, and train on the clean "
        "samples, some of which carry what was found, under their true classes; prune: take the "
        "channels before the last linear layer that are dormant on them; fine-prune: prune, then "
        "train; orthogonalize: project the bundle's directions out of the weights that write them; "
        "or what an installed package adds",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--clean",
        type=existing_samples,
        help="labelled clean samples to work with: a folder of images, with one subfolder per "
        "class; or a .npz or .safetensors file with inputs and labels. Without them, patch works "
        "on images that are recovered from the model, which are of the classes that it takes them "
        "for: look at what that costs",
    )
    add_reconstruct_argument(
        parser,
        help="of patch: how to search for the trigger, by the names that build knows (default: "
        f"{DEEP_INSPECT}, the only one that does without --clean)",
    )
    parser.add_argument(
        "--target",
        type=target,
        metavar="CLASS",
        help="of patch: index or name of the class that the trigger leads to; whether it stands "
        "out is then not looked at (default: auto, the one that stands out most)",
    )
    parser.add_argument(
        "--stamped",
        type=above_zero(1),
        metavar="SHARE",
        help="of patch: how many of the samples carry a trigger, anew in each epoch (default: "
        f"{STAMPED})",
    )
    parser.add_argument(
        "--bundle",
        type=existing_file,
        help="of orthogonalize: a bundle built for these weights, at layers that weights write",
    )
    parser.add_argument(
        "--test-clean",
        type=existing_samples,
        help="labelled clean samples to print the figures of evaluate on, before and after; others "
        "than those of --clean, on which the new weights look better than they are",
    )
    parser.add_argument(
        "--test-triggered",
        type=existing_samples,
        help="labelled triggered samples, likewise; a file with a --test-clean file at the same "
        "relative path makes a pair with it",
    )
    parser.add_argument(
        "--epochs",
        type=at_least(1),
        help=f"of training, over the clean samples (default: {EPOCHS}, of retrain "
        f"{RETRAINING_EPOCHS})",
    )
    parser.add_argument(
        "--rate",
        type=above_zero(),
        help=f"peak of the learning rate of training (default: {RATE})",
    )
    parser.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="of training, in seconds, or as 90s, 2m or 1.5h: it takes the steps that there is "
        "time for, and the learning rate comes down in "
        "time; of patch, half of it at most is for the search (default: no limit)",
    )
    parser.add_argument(
        "--accuracy-loss",
        type=zero_or_more(1),
        metavar="SHARE",
        help="of the clean accuracy that pruning may cost, as measured on half of the clean "
        "samples; of orthogonalize, as measured on all: new weights that cost more are not "
        f"written (default: {ACCURACY_LOSS})",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the random numbers (default: 0)")
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        help="the new weights, of the same kind (.pth or .safetensors) as the old ones; a file "
        "that is there is replaced",
    )
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together or cannot be written, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        OutputError: the new weights cannot be written.
    """
    from torchserve_fire.format.write_file import check_writable

    check_model_arguments(args)
    options = sorted({name for names in SANITIZERS.values() for name in names})
    # What a method of another package takes is not known here.
    taken = SANITIZERS.get(args.method, options)
    for option in options:
        if getattr(args, option) is not None and option not in taken:
            takers = " or ".join(method for method, names in SANITIZERS.items() if option in names)
            raise Refusal(
                f"--{option.replace('_', '-')}: not of --method {args.method}, expected {takers}"
            )
    if args.model_file is None and args.archive is None:
        raise Refusal(
            "--model-file: expected the Python file of the model; the weights of a torch.export "
            "program (.pt2), and of a folder of transformers, cannot be changed"
        )
    if args.method == "orthogonalize" and args.bundle is None:
        raise Refusal("--method orthogonalize: expected --bundle, whose directions go")
    if args.method == "patch":
        check_clean_to_search(args.clean, args.reconstruct or DEEP_INSPECT)
    elif args.clean is None:
        raise Refusal("--clean: expected labelled clean samples; only patch does without")
    if (args.test_clean is None) != (args.test_triggered is None):
        raise Refusal("--test-clean and --test-triggered: expected both, or neither")
    both = args.clean is not None and args.test_clean is not None
    if both and args.test_clean.resolve() == args.clean.resolve():
        raise Refusal(f"--test-clean {args.test_clean}: expected others than those of --clean")
    check_writable(args.output)
    if args.serialized_file is None:
        return
    _check_suffix(args.output, args.serialized_file)
    if args.output.exists() and args.output.samefile(args.serialized_file):
        raise Refusal(f"--output {args.output}: holds the original weights, expected another file")


def _check_suffix(output: Path, weights: Path) -> None:
    is_index = weights.name.endswith(".safetensors.index.json")
    suffix = ".safetensors" if is_index else weights.suffix
    if output.suffix != suffix:
        raise Refusal(
            f"--output {output}: expected a name ending in {suffix or 'nothing'}, as the files of "
            f"the weights {weights.name} do"
        )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import torch

    from ..common.errors import SanitizeError
    from ..sanitize.comparing import compare, observe_before
    from ..sanitize.methods import SANITIZE_METHODS, SanitizeInputs
    from ..sanitize.training import Schedule
    from ..sanitize.weights_file import write_weights
    from .arguments.clean_to_search import refuse_integers
    from .arguments.fitting_bundle import load_fitting_bundle
    from .arguments.search_to_patch import search_to_patch

    source = open_source(args)
    loaded = source.loaded
    weights = source.weights_file
    _check_suffix(args.output, weights)
    if args.method == "patch":
        refuse_integers(source.input_kind)
    bundle = None if args.bundle is None else load_fitting_bundle(args.bundle, source)
    opened = None if args.clean is None else _open_labelled(args, source)
    before = None
    if args.test_clean is not None:
        before = observe_before(
            loaded.model,
            source.open_samples(args.test_clean),
            source.open_samples(args.test_triggered),
            source.names_file,
        )
    triggers: Sequence[Reconstruction] = ()
    seconds = math.inf if args.budget is None else args.budget
    if args.method == "patch":
        clean, triggers, seconds = search_to_patch(args, opened, source)
    elif opened is None:
        raise SanitizeError("--clean: expected labelled clean samples; only patch does without")
    else:
        clean = opened
    epochs = RETRAINING_EPOCHS if args.method == "retrain" else EPOCHS
    given = SanitizeInputs(
        clean,
        torch.Generator().manual_seed(args.seed),
        Schedule(
            epochs=epochs if args.epochs is None else args.epochs,
            rate=RATE if args.rate is None else args.rate,
            budget=seconds,
        ),
        accuracy_loss=ACCURACY_LOSS if args.accuracy_loss is None else args.accuracy_loss,
        bundle=bundle,
        triggers=triggers,
        stamped=STAMPED if args.stamped is None else args.stamped,
    )
    sanitized = SANITIZE_METHODS[args.method](loaded.model, given)
    write_weights(sanitized, weights, args.output)
    # What was written is what is measured.
    written = source.with_weights(args.output)
    print(f"{args.output}: sha256 {written.weights_sha256}")
    if before is not None:
        print("\n".join(compare(before, written.model).table(before.label)))
    return 0


def _open_labelled(args: argparse.Namespace, source: ModelSource) -> LabelledSamples:
    """Return the clean samples that were given.

    Raises:
        SamplesError: they cannot be used, have no labels, or these are not theirs.
    """
    from ..common.errors import SamplesError
    from ..samples.labels import require_labels
    from ..samples.predict import logits_of
    from ..sanitize.labelled_samples import LabelledSamples

    model = source.loaded.model
    samples = source.open_samples(args.clean)
    classes = logits_of(model, samples.load([0])).shape[1]
    (labels,) = require_labels([samples], classes, source.names_file, model)
    clean = LabelledSamples(samples, labels)
    # What trains on wrong classes ruins the model, and without triggered samples nobody sees it.
    if (accuracy := clean.accuracy_of(model)) <= 1 / classes:
        raise SamplesError(
            f"{samples.source}: the model is right on {accuracy:.0%} of these samples, which is no "
            "more than by chance: expected clean ones, in the folders of their classes"
        )
    return clean
