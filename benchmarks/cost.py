"""What calibration and repair cost, as ratios within one run.

    python -m benchmarks.cost --data cifar10-jpg.zip --cache DIR --victims wanet-vgg ...

Times are medians over alternating repetitions of the two things compared; memory is the peak of a
process of its own.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.correction_forms import Affine
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.estimate.candidate_layers import candidate_layers
from torchserve_fire_build.estimate.layer_statistics import collect_statistics
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.folds import assign_folds
from torchserve_fire_build.samples.samples import Samples

from . import fire
from .evidence import KINDS, Evidence, draw_evidence
from .options import parse_options
from .samples import ImageSamples, NoiseSamples
from .victims.data import Data, load_data
from .victims.poison import to_float
from .victims.recipe import Recipe
from .victims.train import normalise, obtain_backdoored

RESULTS = Path(__file__).parent / "results" / "cost.json"
REPETITIONS = 15
FEW, MANY = 500, 10_000
BATCHES = (1, 32)
FULL_SIZE = "torchvision's resnet18, 224 pixels, untrained"


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    for recipe in tqdm(recipes, desc="cost"):
        results.replace(recipe.name, [measure(recipe, data, args.cache)])
    ratios = measure_full_size()
    results.replace(FULL_SIZE, [{"victim": FULL_SIZE, "repaired_to_plain": ratios}])


def measure(recipe: Recipe, data: Data, cache: Path) -> dict[str, Any]:
    """Measure one victim."""
    victim, attack = obtain_backdoored(recipe, data, cache)
    evidence = draw_evidence(KINDS[0], attack, data.pool, seed=0)
    inputs = normalise(to_float(torch.cat([evidence.clean.pixels, evidence.triggered.pixels])))
    plain = median_time(lambda: forward(victim.model, inputs, 64), 3)
    start = time.perf_counter()
    bundle = fire.build(victim.model, evidence, seed=0).bundle
    seconds = time.perf_counter() - start
    # Parts of the network run more often than others: operations, not calls, say how much ran.
    operations = [
        count_operations(run)
        for run in (
            lambda: fire.build(victim.model, evidence, seed=0),
            lambda: forward(victim.model, inputs, 64),
        )
    ]
    ratios = {}
    for size in BATCHES:
        for kind, images_of in (("clean", evidence.clean), ("flagged", evidence.triggered)):
            batch = normalise(to_float(images_of.pixels))
            ratios[f"{kind} {size}"] = repaired_to_plain(victim.model, bundle.layers, batch, size)
    memory = {
        count: _in_own_process(_peak_of_statistics, victim.model, inputs.shape[1:], count // 2)
        for count in (FEW, MANY)
    }
    return {
        "victim": recipe.name,
        "statistics_to_forward": statistics_to_forward(victim.model, evidence),
        "memory_many_to_few": memory[MANY] / memory[FEW],
        "build_megabytes": _in_own_process(_growth_of_build, victim.model, evidence),
        "build_passes": operations[0] / operations[1],
        "build_to_forward": seconds / plain,
        "repaired_to_plain": ratios,
        "bundle_to_weights": fire.describe(bundle)["bytes"] / victim.weights_bytes,
    }


def measure_full_size() -> dict[str, float]:
    """Measure requests to a network of the size that is deployed, with the same forms of layers.

    What the hooks take depends on the features' sizes, not on what the network has learnt. Which
    inputs are flagged is decided by thresholds that all, or none, of them exceed.
    """
    generator = torch.Generator().manual_seed(0)
    model = torchvision.models.resnet18().eval()
    inputs = torch.randn(max(BATCHES), 3, 224, 224, generator=generator)
    direction = torch.randn(64, 56, 56, generator=generator) * 1e-3
    slope = torch.randn(64, 64, generator=generator) * 1e-3
    correction = Layer("layer1.1", (64, 56, 56), None, Affine(direction, 1, slope=slope))
    weight, beyond = torch.randn(512, 7, 7, generator=generator), 1e9
    ratios = {}
    for kind, threshold in (("clean", beyond), ("flagged", -beyond)):
        layers = [Layer("layer4.0", tuple(weight.shape), Detection(weight, threshold)), correction]
        for size in BATCHES:
            ratios[f"{kind} {size}"] = repaired_to_plain(model, layers, inputs, size)
    return ratios


def count_operations(run: Callable[[], object]) -> int:
    """Return the floating-point operations of the convolutions and products in something."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def forward(model: nn.Module, inputs: Tensor, size: int) -> None:
    """Run inputs through a model in batches."""
    with torch.no_grad():
        for batch in inputs.split(size):
            model(batch)


def median_time(run: Callable[[], None], repetitions: int) -> float:
    """Return the median of the seconds that something takes, after once to warm up."""
    run()
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def repaired_to_plain(model: nn.Module, layers: Any, inputs: Tensor, size: int) -> float:
    """Return the time of forward passes with the repair over those without, alternating.

    Of the inputs that are to be flagged, those count that are.
    """
    target = 0
    with attach_layers(model, layers, inputs[:1], target=target) as handle, torch.no_grad():
        model(inputs)
        flagged = handle.verdict.flagged
    # Rows of one kind only: the clean ones that are not flagged, or the triggered ones that are.
    rows = inputs[flagged] if float(flagged.float().mean()) > 0.5 else inputs[~flagged]
    batches = list(rows.split(size))[:20]
    ratios = []
    for _ in range(REPETITIONS):
        plain = _seconds(model, batches)
        with attach_layers(model, layers, rows[:1], target=target):
            ratios.append(_seconds(model, batches) / plain)
    return statistics.median(ratios)


def _seconds(model: nn.Module, batches: Sequence[Tensor]) -> float:
    with torch.no_grad():
        # What ran before, batches of another size, is no matter of either.
        model(batches[0])
        start = time.perf_counter()
        for batch in batches:
            model(batch)
        return time.perf_counter() - start


def statistics_to_forward(model: nn.Module, evidence: Evidence) -> float:
    """Return the time to collect statistics at all candidate layers over that of forward passes."""
    names = [str(i) for i in range(len(evidence.clean))]
    collect = _collector(
        model,
        ImageSamples(evidence.clean, "clean", names),
        ImageSamples(evidence.triggered, "triggered", names),
    )
    inputs = normalise(to_float(torch.cat([evidence.clean.pixels, evidence.triggered.pixels])))
    ratios = []
    for _ in range(5):
        plain = median_time(lambda: forward(model, inputs, 64), 1)
        ratios.append(median_time(collect, 1) / plain)
    return statistics.median(ratios)


def _collector(model: nn.Module, clean: Samples, triggered: Samples) -> Callable[[], None]:
    found = gather_evidence(clean, triggered)
    folds = assign_folds(found, torch.Generator().manual_seed(0))
    layers = candidate_layers(model, clean.load([0]))

    def collect() -> None:
        collect_statistics(
            model,
            layers,
            found,
            folds,
            clean_targets=[torch.zeros(len(clean), dtype=torch.bool)],
            uses=[torch.ones(len(triggered), dtype=torch.bool)],
        )

    return collect


def _peak_of_statistics(model: nn.Module, size: Sequence[int], count: int) -> float:
    samples = NoiseSamples(count, size)
    _collector(model, samples, samples)()
    return _memory("VmHWM")


def _growth_of_build(model: nn.Module, evidence: Evidence) -> float:
    before = _memory("VmRSS")
    fire.build(model, evidence, seed=0)
    return (_memory("VmHWM") - before) / 1024


def _memory(what: str) -> float:
    """Return this process's resident memory (VmRSS) or its peak (VmHWM), in kilobytes.

    `getrusage` would give the peak of the process that started this one, where that is higher.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def _in_own_process(function: Callable[..., float], *arguments: Any) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


if __name__ == "__main__":
    main()
