"""From a plain archive in production to a repaired one, on a real TorchServe, under load.

    python -m benchmarks.archives --data DIR --cache DIR

Four plain archives are served as they would be in production. Three commands of this project lead
from there to repaired answers, while clients keep sending. An answer is right if it is what the
archive that was served at its time answers on this machine. What the server answers to test
samples, which no build saw, is compared before and after.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from ..kept import Kept
from ..load.command import ended_in_one_line
from .case import Case
from .figures import row_of
from .label_case import label_case
from .photograph_case import photograph_case
from .production import go
from .text_case import text_case
from .vit_case import vit_case

RESULTS = Path(__file__).parent.parent / "results" / "archives.json"
CASES = {
    "image_classifier": photograph_case,
    "own-handler": label_case,
    "vit": vit_case,
    "text": text_case,
}


def main() -> None:
    """Measure the archives and write the results."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.archives", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the images and texts")
    parser.add_argument("--cache", type=Path, required=True, help="folder for trained victims")
    parser.add_argument(
        "--archives", nargs="+", choices=CASES, default=list(CASES), help="(default: all)"
    )
    parser.add_argument(
        "--requests", type=int, default=1000, help="at least so many (default: %(default)s)"
    )
    parser.add_argument("--clients", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS,
        help="file; the rows of other archives in it stay (default: the committed results)",
    )
    args = parser.parse_args()
    results = Kept(args.output)
    with ended_in_one_line("benchmarks.archives"):
        for name in args.archives:
            with tempfile.TemporaryDirectory(prefix="fire-archives-") as folder:
                made = Path(folder) / "made"
                made.mkdir()
                case: Case = CASES[name](args.data, args.cache, made)
                row = row_of(case, go(case, Path(folder), args.requests, args.clients))
            print(json.dumps(row, indent=1), flush=True)
            results.replace(case.name, [row])


if __name__ == "__main__":
    main()
