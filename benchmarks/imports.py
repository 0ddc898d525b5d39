"""Draw the project's imports: packages in layers, and an arrow from each to those it imports.

    python -m benchmarks.imports --root DIR --output docs/imports-after.png

A box is a package or a module right below one of the two packages of a checkout. It stands in the
lowest layer that is above all that it imports. Where some import each other in a circle, one
arrow of the circle goes upwards: the one that stands for the fewest imports. Imports inside
functions, and those for type checkers, count like all others. The `__init__.py` of the two packages
themselves, by which users import, is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable, write_file

from .imports_picture import draw
from .read_imports import read_imports

PACKAGES = {
    "torchserve_fire": "handler/torchserve_fire",
    "torchserve_fire_build": "directions/torchserve_fire_build",
}
"""Folder of each package in a checkout."""

FLAT_PACKAGES = {"handler": "handler", "directions": "directions"}
"""The same, before there were packages of these names."""


def main() -> None:
    """Read a checkout, print the counts and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout (default: here)")
    parser.add_argument("--output", type=Path, required=True, help="PNG file")
    parser.add_argument(
        "--flat",
        choices=("each", "one"),
        help="the modules lie in handler/ and directions/ themselves; each module of handler/ has "
        "a box of its own, or all of it has one",
    )
    args = parser.parse_args()
    try:
        check_writable(args.output)
    except FireError as error:
        raise SystemExit(str(error)) from None
    packages = FLAT_PACKAGES if args.flat else PACKAGES
    whole = ["handler"] if args.flat == "one" else []
    imports = read_imports({name: args.root / path for name, path in packages.items()}, whole)
    print(imports.describe())
    for importing, imported in imports.upward:
        print(f"upwards: {importing} imports {imported}")
    write_file(draw(imports), args.output)


if __name__ == "__main__":
    main()
