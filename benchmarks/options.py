"""What the benchmark's commands are given: the images, the cache and the victims."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable

from .kept import Kept
from .victims.catalogue import VICTIMS
from .victims.recipe import Recipe


def add_options(parser: ArgumentParser) -> None:
    """Add `--data`, `--cache` and `--victims`; without the last, it is all of them."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder, or a zip of one, with train/CLASS/* and test/CLASS/*",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        required=True,
        help="folder for decoded images, trained victims and bundles built of clean images",
    )
    parser.add_argument(
        "--victims",
        nargs="+",
        default=[recipe.name for recipe in VICTIMS],
        metavar="NAME",
        help="ATTACK-ARCHITECTURE, of benchmarks/victims/catalogue.py (default: all)",
    )


def parse_options(description: str, output: Path) -> tuple[Namespace, list[Recipe], Kept]:
    """Read the options of a benchmark whose results are one file, `--output`.

    Returns:
        the options, the victims that they name, and the results so far.

    Raises:
        SystemExit: a victim is not known, or the file cannot be written.
    """
    parser = ArgumentParser(description=description)
    add_options(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=output,
        help="file; the rows of other victims in it stay (default: the committed results)",
    )
    args = parser.parse_args()
    return args, named_victims(args.victims), Kept(args.output)


def named_victims(names: Sequence[str], recipes: Sequence[Recipe] = VICTIMS) -> list[Recipe]:
    """Return those recipes that have one of these names, in their order.

    Raises:
        SystemExit: there is no victim of one of the names.
    """
    known = {recipe.name: recipe for recipe in recipes}
    if unknown := set(names) - set(known):
        raise SystemExit(
            f"--victims: no {', '.join(sorted(unknown))} among {', '.join(sorted(known))}"
        )
    return [recipe for name, recipe in known.items() if name in names]


def make_folder(folder: Path) -> None:
    """Make a folder for results, before the work for them begins.

    Raises:
        SystemExit: it cannot be made, or takes no files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder / "results")
    except OSError as error:
        raise SystemExit(f"{folder}: cannot be made: {error.strerror}") from None
    except FireError as error:
        raise SystemExit(str(error)) from None
