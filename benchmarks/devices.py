"""What a device does faster than the CPU, and whether both come to the same, within one run.

    python -m benchmarks.devices --data cifar10-jpg.zip --cache DIR --victims badnets-resnet \
        --device cuda --output devices.json

For each victim: a build, an inspection, and forward passes without and with the repair, on the CPU
and then on the device. `--device cpu` compares the CPU with itself, which shows how far the seconds
may differ by chance. A victim that the cache does not hold is trained first.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.common.devices import find_device
from torchserve_fire_build.inspection.inspect_model import inspect_model
from torchserve_fire_build.samples.evidence import Evidence
from torchserve_fire_build.samples.predict import logits_of
from torchserve_fire_build.samples.samples import Samples

from . import fire
from .evidence import EvidenceKind, draw_evidence
from .kept import Kept
from .markdown_table import markdown_table
from .options import add_options, named_victims
from .same_bundles import compare_bundles
from .samples import without_labels
from .victims.data import Data, load_data
from .victims.poison import stamp_images, to_float
from .victims.recipe import Recipe
from .victims.train import normalise, obtain_backdoored

SIDES = ("cpu", "device")
BATCHES = (1, 32)
PASSES = 20
"""Forward passes in a row of which the time is taken."""


def main() -> None:
    """Measure the victims, print the ratios, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--device", default="auto", help="as of torchserve-fire (default: auto)")
    parser.add_argument("--pairs", type=int, default=200, help="to build from (default: 200)")
    parser.add_argument("--clean", type=int, default=200, help="to inspect with (default: 200)")
    parser.add_argument("--tested", type=int, default=1000, help="to compare on (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="of the passes (default: 5)")
    parser.add_argument(
        "--methods", nargs="+", metavar="NAME", help="of the inspection (default: its own)"
    )
    parser.add_argument("--augment", default="standard", help="of the build (default: standard)")
    parser.add_argument("--output", type=Path, required=True, help="file for the results, JSON")
    args = parser.parse_args()
    device, results = find_device(args.device), Kept(args.output)
    data = load_data(args.data, args.cache)
    rows = []
    for recipe in named_victims(args.victims):
        rows.append(measure(recipe, data, args, device))
        results.replace(recipe.name, [rows[-1]])
        print(f"{recipe.name}: {json.dumps(rows[-1]['same'])}", flush=True)
    print(f"\n{name_of(device)} beside the CPU with {torch.get_num_threads()} threads\n")
    print(table(rows), end="")


@dataclass(frozen=True)
class Side:
    """What one device came to.

    Attributes:
        bundle: that was built there.
        seconds: of the build, of the inspection, and of passes by their kind.
        status: of the inspection: 0 nothing found, 1 found, 2 could not tell.
        found: all that it said.
        plain: logits of the images without the repair, (N, classes).
        repaired: with the repair that the CPU has built, (N, classes).
        flagged: by it, (N,) bool.
        megabytes: the most memory of the device; None of the CPU.
    """

    bundle: Bundle
    seconds: Mapping[str, float]
    status: int
    found: Any
    plain: Tensor
    repaired: Tensor
    flagged: Tensor
    megabytes: float | None


def measure(
    recipe: Recipe, data: Data, args: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """Measure one victim on both devices."""
    victim, attack = obtain_backdoored(recipe, data, args.cache)
    evidence = draw_evidence(EvidenceKind(args.pairs, paired=True), attack, data.pool, seed=0)
    generator = torch.Generator().manual_seed(1)
    drawn = data.pool.at(torch.randperm(len(data.pool), generator=generator)[: args.clean])
    # None of them was seen by the build.
    tested = data.test.at(torch.arange(args.tested // 2) % len(data.test))
    stamped = stamp_images(attack, tested, generator)
    given = Given(
        fire.gather(evidence),
        without_labels(drawn, "clean"),
        normalise(to_float(torch.cat([tested.pixels, stamped.pixels]))),
    )
    cpu = run_side(victim.model, given, args, torch.device("cpu"))
    # The same repair on both sides: another choice would cost other seconds.
    other = run_side(copy.deepcopy(victim.model).to(device), given, args, device, cpu.bundle)
    return {"victim": recipe.name, "device": name_of(device), **compared(cpu, other)}


@dataclass(frozen=True)
class Given:
    """What both sides are given.

    Attributes:
        evidence: to build from.
        clean: to inspect with.
        images: to compare answers on, (N, 3, H, W), normalised.
    """

    evidence: Evidence
    clean: Samples
    images: Tensor


def run_side(
    model: nn.Module,
    given: Given,
    args: argparse.Namespace,
    on: torch.device,
    repair: Bundle | None = None,
) -> Side:
    """Build, inspect and predict on one device.

    Args:
        model: there.
        given: what both sides are given.
        args: of the command.
        on: the device.
        repair: to predict with; None for the one that is built.
    """
    images, seconds = given.images, {}
    # What a library prepares with its first call is no cost of ours.
    logits_of(model, images[:64])
    if on.type == "cuda":
        torch.cuda.reset_peak_memory_stats(on)
    options = BuildOptions(seed=0, augment=args.augment)
    built, seconds["build"] = timed(lambda: fire.build_from(model, given.evidence, options), on)
    findings, seconds["inspect"] = timed(
        lambda: inspect_model(model, given.clean, methods=args.methods), on
    )
    bundle = built.bundle if repair is None else repair
    plain, _ = answers(model, images)
    with attach_layers(model, bundle.layers, images[:1].to(on), target=bundle.target) as handle:
        repaired, flagged = answers(model, images, handle)
    for kind, rows in (("clean", ~flagged), ("flagged", flagged)):
        for size in BATCHES:
            some = images[rows][: size * PASSES]
            for part, layers in (("plain", ()), ("repaired", bundle.layers)):
                taken = seconds_of_pass(model, layers, bundle.target, some, size, args.rounds)
                if taken is not None:
                    seconds[f"{part}, {kind}, {size}"] = taken
    peak = torch.cuda.max_memory_allocated(on) / 2**20 if on.type == "cuda" else None
    status, found = findings.status, findings.to_json()
    return Side(built.bundle, seconds, status, found, plain, repaired, flagged, peak)


def timed(run: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """Return what something returns, and the seconds until the device has done it."""
    wait_for(device)
    start = time.perf_counter()
    result = run()
    wait_for(device)
    return result, time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def answers(model: nn.Module, images: Tensor, handle: Any = None) -> tuple[Tensor, Tensor]:
    """Return the logits of images, and which were flagged, batch by batch, on the CPU."""
    logits, flagged = [], []
    for batch in images.split(64):
        logits.append(logits_of(model, batch))
        none = torch.zeros(len(batch), dtype=torch.bool)
        flagged.append(none if handle is None else handle.verdict.flagged.cpu())
    return torch.cat(logits), torch.cat(flagged)


def seconds_of_pass(
    model: nn.Module,
    layers: Sequence[Any],
    target: int | None,
    images: Tensor,
    size: int,
    rounds: int,
) -> float | None:
    """Return the median of the seconds of a pass, with what a server does before and after it.

    Args:
        model: on its device.
        layers: of the repair; none for none.
        target: of the repair.
        images: on the CPU, as requests bring them.
        size: images in a batch.
        rounds: how often the batches are run.

    Returns:
        None where there are no images.
    """
    if len(images) < size:
        return None
    device = next(model.parameters()).device
    batches = [batch for batch in images.split(size) if len(batch) == size]
    handle = attach_layers(model, layers, images[:1].to(device), target=target) if layers else None

    def run() -> None:
        for batch in batches:
            model(batch.to(device)).cpu()
            if handle is not None:
                handle.verdict.flagged.tolist()

    with torch.inference_mode():
        run()
        seconds = [timed(run, device)[1] / len(batches) for _ in range(rounds)]
    if handle is not None:
        handle.detach()
    return statistics.median(seconds)


def compared(cpu: Side, device: Side) -> dict[str, Any]:
    """Return the seconds of both sides, their ratios, and what is the same on both."""
    sides = dict(zip(SIDES, (cpu, device), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.safetensors" for name in SIDES]
        for side, file in zip(sides.values(), files, strict=True):
            save_bundle(side.bundle, file)
        bundles = compare_bundles(*files)
    span = float(cpu.plain.max() - cpu.plain.min())
    return {
        "seconds": {name: dict(side.seconds) for name, side in sides.items()},
        "cpu_to_device": {
            name: seconds / device.seconds[name]
            for name, seconds in cpu.seconds.items()
            if name in device.seconds
        },
        "megabytes": device.megabytes,
        "same": {
            "bundle_file": bundles["same_file"],
            "bundle_choice": bundles["same_choice"],
            "bundle_difference": bundles["largest_difference"],
            "inspection": cpu.status == device.status,
            "predictions": share(cpu.plain.argmax(1) == device.plain.argmax(1)),
            "repaired_predictions": share(cpu.repaired.argmax(1) == device.repaired.argmax(1)),
            "flags": share(cpu.flagged == device.flagged),
            "logits_difference": float((cpu.plain - device.plain).abs().max()) / span,
        },
        "changed_in_bundle": bundles["changed"],
        "found": {name: side.found for name, side in sides.items()},
    }


def share(same: Tensor) -> float:
    """Return how many of the images got the same, (N,) bool, as a share."""
    return float(same.double().mean())


def name_of(device: torch.device) -> str:
    """Return what a device is called, with the model of a GPU."""
    named = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{named}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the seconds on both sides, and how many times faster the device was."""
    lines = []
    for row in rows:
        for name, ratio in row["cpu_to_device"].items():
            cpu, device = (f"{row['seconds'][side][name]:.4g}" for side in SIDES)
            lines.append((row["victim"], name, cpu, device, f"{ratio:.2f}"))
        lines += [(row["victim"], f"same: {k}", "", str(v), "") for k, v in row["same"].items()]
    return markdown_table(("victim", "what", "CPU, s", "device, s", "CPU / device"), lines)


if __name__ == "__main__":
    main()
