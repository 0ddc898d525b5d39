"""What a build of photographs costs, in plain passes over its images, within one run.

    python -m benchmarks.full_size --data DIR --cache DIR

The network is an EfficientNet-Lite0 with 1,000 classes and a backdoor that is planted on the first
run (`benchmarks.full_size_victim`). A plain pass decodes the images and runs the network on them
once. It and the build run in processes of their own, alternating; memory is the peak of a process.
Then the bundle is measured on photographs that neither it nor the network has seen.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.model.load_model import load_model
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.samples.open_samples import open_samples

from .kept import write_json
from .markdown_table import markdown_table
from .same_bundles import Code, Cost, build, copy_code, find_samples, load, run

RESULTS = Path(__file__).parent / "results" / "full_size.json"
ROOT = Path(__file__).resolve().parents[1]
PAIRS = 100
ROUNDS = 3
LARGE_BATCH = 64
"""As one often runs a network; `BATCH_BYTES` makes the build's batches smaller."""

PLAIN = """\
import sys
from pathlib import Path

import torch

from torchserve_fire.model.load_model import load_model
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.samples import iterate

folder, batch = Path(sys.argv[1]), int(sys.argv[2])
model = load_model(folder / "net.py", folder / "net.pth").model
with torch.no_grad():
    for samples in sys.argv[3:]:
        opened = open_samples(samples, folder / "model-config.yaml")
        for _, inputs in iterate(opened, range(len(opened)), batch or None):
            model(inputs)
"""


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip of photographs")
    parser.add_argument("--cache", type=Path, required=True, help="folder for model and samples")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"(default: {PAIRS})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"(default: {ROUNDS})")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    args = parser.parse_args()
    subject = args.cache.resolve() / f"lite0-{args.pairs}"
    if not (subject / "net.pth").exists():
        from .full_size_victim import write_subject

        write_subject(args.data, subject, args.pairs)
    row = measure(subject, args.pairs, args.rounds, args.cache)
    print(row)
    write_json([row], args.output)


def measure(subject: Path, pairs: int, rounds: int, cache: Path) -> dict[str, Any]:
    """Build and pass over the images in turn, and return the medians of what that costs."""
    names = ("loading", "plain", "large", "build")
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        code = copy_code(ROOT, Path(folder).resolve())
        # The network's package may lie where PYTHONPATH says.
        others = tuple(map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))))
        code = replace(code, folders=(*code.folders, *others))
        for _ in range(rounds):
            costs["loading"].append(load(code, subject))
            costs["plain"].append(plain_pass(code, subject, 0))
            costs["large"].append(plain_pass(code, subject, LARGE_BATCH))
            costs["build"].append(build(code, subject, Path(folder) / "bundle.safetensors"))
            print({name: costs[name][-1] for name in names}, flush=True)
        figures = repair_figures(subject, Path(folder) / "bundle.safetensors")

    def median(name: str, unit: str) -> float:
        return statistics.median(getattr(cost, unit) for cost in costs[name])

    def passes(name: str) -> float:
        """Return how often the pass goes into the build; loading torch counts in neither."""
        floor = median("loading", "cpu_seconds")
        return (median("build", "cpu_seconds") - floor) / (median(name, "cpu_seconds") - floor)

    return {
        "figures": figures,
        "pairs": pairs,
        "rounds": rounds,
        "batch": LARGE_BATCH,
        "passes": passes("plain"),
        "passes_in_large_batches": passes("large"),
        "memory": median("build", "megabytes") / median("plain", "megabytes"),
        "memory_to_large_batches": median("build", "megabytes") / median("large", "megabytes"),
    }


def plain_pass(code: Code, subject: Path, batch: int) -> Cost:
    """Decode all images and run the network on them once, in a process of its own.

    Args:
        code: of the checkout.
        subject: folder of model and samples.
        batch: images run at once; 0 for as many as a build runs.
    """
    samples = [str(find_samples(subject, kind)) for kind in ("clean", "triggered")]
    command = [sys.executable, "-c", PLAIN, str(subject), str(batch), *samples]
    return run(command, code, subject.name)


def repair_figures(subject: Path, bundle: Path) -> dict[str, Any]:
    """Return what a bundle does on the test photographs; shares in [0, 1], before and after."""
    loaded = load_model(subject / "net.py", subject / "net.pth")
    clean, triggered = (
        open_samples(subject / "test" / kind, subject / "model-config.yaml")
        for kind in ("clean", "triggered")
    )
    found = evaluate_bundle(loaded.model, load_bundle(bundle), clean, triggered)
    weights = (subject / "net.pth").stat().st_size
    return {
        "counts": found.counts,
        "clean_accuracy": found.clean_accuracy,
        "attack_success_rate": found.attack_success_rate,
        "natural_rate": found.natural_rate,
        "recovered_accuracy": found.recovered_accuracy,
        "ceiling": found.ceiling,
        "flagged": found.flagged,
        "bundle_to_weights": bundle.stat().st_size / weights,
    }


def full_size_figures(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the repair does at full size, in percent."""
    headings = [
        "photographs",
        "clean accuracy",
        "attack success rate",
        "natural rate",
        "recovered accuracy",
        "ceiling",
        "flagged: clean / triggered",
        "bundle / weights",
    ]
    lines = []
    for found in (row["figures"] for row in rows if "figures" in row):
        before_after = [
            " → ".join(f"{100 * value:.1f}" for value in found[name])
            for name in ("clean_accuracy", "attack_success_rate", "recovered_accuracy")
        ]
        lines.append(
            [
                str(found["counts"][0]),
                *before_after[:2],
                f"{100 * found['natural_rate'][0]:.1f}",
                before_after[2],
                f"{100 * found['ceiling']:.1f}",
                " / ".join(f"{100 * value:.1f}" for value in found["flagged"]),
                f"{found['bundle_to_weights']:.3f}",
            ]
        )
    return markdown_table(headings, lines)


def full_size_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what builds cost, beside a pass in batches of either size."""
    lines = [
        [how, f"{row['passes' + of]:.0f}", f"{row['memory' + to]:.2f}"]
        for row in rows
        for how, of, to in (
            ("in such batches as the build", "", ""),
            (f"in batches of {row['batch']}", "_in_large_batches", "_to_large_batches"),
        )
    ]
    headings = ["a plain pass over the same images", "passes in a build", "memory, build / pass"]
    return markdown_table(headings, lines)


if __name__ == "__main__":
    main()
