"""`torchserve-fire import-backdoorbench`: a model and samples from a result of BackdoorBench."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .arguments.device import add_device_argument
from .arguments.values import at_least, existing_file, existing_folder, model_source, seed
from .refusal import Refusal

PAIRS, TEST_PAIRS = 200, 1000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "import-backdoorbench",
        help="take a model and samples out of BackdoorBench's attack_result.pt",
        description="Write the model of a BackdoorBench attack_result.pt (weights, model file, "
        "model-config.yaml, index_to_name.json) and pairs of clean and triggered test images as "
        "the other commands take them; measure the model on them; and print the commands that go "
        "on from there. Nothing in the file is unpickled but numbers, texts, tensors and images. "
        "Exit status: 0 imported; 1 imported, but the trigger does not work: do not build from it; "
        "64 bad input, and nothing was written.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "result",
        type=existing_file,
        metavar="attack_result.pt",
        help="the result; triggered images that were saved to disk lie beside it",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="new folder to write to"
    )
    parser.add_argument(
        "--data",
        type=existing_folder,
        metavar="DIR",
        help="folder of the clean data set, as data/cifar10 (default: the one that the result "
        "names, in a folder above the result)",
    )
    parser.add_argument(
        "--model-file",
        type=model_source,
        help="Python file with the model's class, or timm:NAME (default: written here, for "
        "preactresnet18 and the architectures of torchvision)",
    )
    parser.add_argument(
        "--limit",
        type=at_least(1),
        default=PAIRS,
        metavar="N",
        help="pairs to build from, drawn evenly over the classes (default: %(default)s)",
    )
    parser.add_argument(
        "--test-limit",
        type=at_least(1),
        default=TEST_PAIRS,
        metavar="N",
        help="other pairs, to evaluate on (default: %(default)s)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the drawing (default: 0)")
    add_device_argument(parser)
    parser.set_defaults(run=run, check=check)


def check(args: argparse.Namespace) -> None:
    """Refuse a folder that cannot be written, before torch is loaded.

    Raises:
        Refusal: it exists already.
        OutputError: it cannot be made.
    """
    from torchserve_fire.format.write_file import check_writable

    if os.path.lexists(args.output):
        raise Refusal(f"--output {args.output}: exists already, expected a new folder")
    check_writable(args.output)


def run(args: argparse.Namespace) -> int:
    """Run the command; return 1 where the trigger does not work."""
    from ..backdoorbench.import_result import ImportOptions, import_result
    from ..backdoorbench.next_commands import next_commands

    imported = import_result(
        args.result,
        args.output,
        ImportOptions(
            args.data,
            args.model_file,
            (args.limit, args.test_limit),
            args.seed,
            args.device,
        ),
    )
    if not imported.attacked:
        return 1
    print("\n".join(["", *next_commands(imported)]))
    return 0
