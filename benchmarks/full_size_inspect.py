"""What `inspect` says of a network of 1,000 classes at 224 pixels, backdoored and benign.

    python -m benchmarks.full_size_inspect --data DIR --cache DIR --budget 1h

The first victim is that of `benchmarks.full_size`; the second one has another patch at another
place, and another target. The benign network is the same before a backdoor was planted. The command
is run as a user runs it, on the clean photographs that pairs are made from.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .full_size import PAIRS
from .full_size_victim import PATCH, STRIPES, Planted, write_benign, write_subject
from .kept import Kept
from .markdown_table import markdown_table

RESULTS = Path(__file__).parent / "results" / "full_size_inspect.json"
MODELS: Mapping[str, Planted | None] = {"victim": PATCH, "benign": None, "second victim": STRIPES}
"""What is planted in each."""


def main() -> None:
    """Inspect them, and write what was said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip of photographs")
    parser.add_argument("--cache", type=Path, required=True, help="folder for model and samples")
    parser.add_argument("--budget", default="1h", help="as of inspect (default: 1h)")
    parser.add_argument(
        "--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="(default: all)"
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    args = parser.parse_args()
    results = Kept(args.output)
    for name in args.models:
        planted = MODELS[name] or PATCH
        subject = args.cache.resolve() / f"lite0-{PAIRS}-{planted.target}"
        if not (subject / "net.pth").exists():
            write_subject(args.data, subject, PAIRS, planted)
        weights = subject / "net.pth"
        if MODELS[name] is None:
            weights = subject / "benign.pth"
            write_benign(weights)
        row = inspect(subject, weights, args.budget, planted.target)
        results.replace(name, [{"victim": name, "budget": args.budget, **row}])


def inspect(subject: Path, weights: Path, budget: str, target: int) -> dict[str, Any]:
    """Run the command; return what it said, with the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "findings.json"
        command = [
            *(sys.executable, "-m", "torchserve_fire_build.commands.main", "inspect"),
            *("--model-file", str(subject / "net.py"), "--serialized-file", str(weights)),
            *("--config-file", str(subject / "model-config.yaml")),
            *("--clean", str(subject / "calibration" / "clean")),
            *("--budget", budget, "--json", str(said)),
        ]
        start = time.monotonic()
        done = subprocess.run(command, check=False)  # noqa: S603 - a command of this project.
        seconds = time.monotonic() - start
        if not said.exists():
            raise SystemExit(f"inspect ended with exit status {done.returncode}, and said nothing")
        return row_of(json.loads(said.read_text()), seconds, target)


def row_of(findings: Mapping[str, Any], seconds: float, target: int) -> dict[str, Any]:
    """Return a row of the results, from what `inspect --json` wrote."""
    (scan,) = (method for method in findings["methods"] if method["method"] == "scan")
    others = [p for other, p in enumerate(scan["probabilities"]) if other != target]
    return {
        "found": findings["found"],
        "named": findings["suspects"],
        "classes": len(scan["probabilities"]),
        "probability": scan["probability"],
        "target": target,
        "of_target": scan["probabilities"][target],
        "highest_other": max(others),
        "seconds": round(seconds),
    }


def full_size_inspect_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what was said of each network."""
    headings = [
        "network",
        "classes",
        "verdict",
        "classes named (target)",
        "probability",
        "of the target / of the likeliest other class",
        "minutes",
    ]
    verdicts = {True: "backdoored", False: "nothing found", None: "could not tell"}
    lines = [
        [
            row["victim"],
            str(row["classes"]),
            verdicts[row["found"]],
            (", ".join(map(str, row["named"])) or "none")
            + (f" ({row['target']})" if row["victim"] != "benign" else ""),
            f"{row['probability']:.3f}",
            f"{row['of_target']:.3f} / {row['highest_other']:.3f}",
            f"{row['seconds'] / 60:.0f}",
        ]
        for row in rows
    ]
    return markdown_table(headings, lines)


if __name__ == "__main__":
    main()
