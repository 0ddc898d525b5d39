"""Mixed pools: whether their triggered images are found, and what a bundle from them repairs.

    python -m benchmarks.pools --data cifar10-jpg.zip --cache DIR --victims wanet-vgg ...

The build is given a pool of images of which a tenth is triggered, and none is marked. The same
victim is given a pool without triggered images, and its benign twin one with: neither has anything
to repair.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.common.errors import NoTriggerError
from torchserve_fire_build.pool.methods import POOL_METHODS
from torchserve_fire_build.pool.split import split_pool
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.subset import unlabelled

from . import fire
from .measure import Held, draw_test_images, hold, measure_baseline, share
from .options import parse_options
from .samples import without_labels
from .victims.attacks.attack import Attack
from .victims.catalogue import benign_twin
from .victims.data import Images, load_data
from .victims.poison import stamp_images
from .victims.train import obtain_backdoored, obtain_victim

RESULTS = Path(__file__).parent / "results" / "pools.json"
SHARE = 0.1
SEED = 0
EXAMPLE = torch.zeros(1, 3, 32, 32)


@dataclass(frozen=True)
class Pool:
    """Images of which some are triggered.

    Attributes:
        images: with their true labels, which no method is given.
        triggered: which of them are, (N,) bool.
        wanted: what the attacker wants each triggered image called, (N,) int64.
    """

    images: Images
    triggered: Tensor
    wanted: Tensor


def draw_pool(attack: Attack, images: Images, share: float, seed: int) -> Pool:
    """Return images in random order, a share of them triggered: of other classes than is wanted."""
    generator = torch.Generator().manual_seed(seed)
    drawn = images.at(torch.randperm(len(images), generator=generator))
    stamped = stamp_images(attack, drawn, generator)
    usable = (stamped.labels != drawn.labels).nonzero().flatten()
    chosen = usable[: round(share * len(images))]
    pixels, triggered = drawn.pixels.clone(), torch.zeros(len(drawn), dtype=torch.bool)
    pixels[chosen] = stamped.pixels[chosen]
    triggered[chosen] = True
    return Pool(Images(pixels, drawn.labels), triggered, stamped.labels)


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    images, _ = draw_test_images(data)
    done = {row["victim"] for row in results.rows}
    with tqdm(total=len(recipes) * len(POOL_METHODS), desc="pools") as progress:
        for recipe in recipes:
            if recipe.name in done:
                progress.update(len(POOL_METHODS))
                continue
            victim, attack = obtain_backdoored(recipe, data, args.cache)
            benign = obtain_victim(benign_twin(recipe), data, args.cache)
            held = hold(attack, images)
            baseline = asdict(measure_baseline(victim.model, benign.model, held))
            mixed = draw_pool(attack, data.pool, SHARE, SEED)
            clean = draw_pool(attack, data.pool, 0.0, SEED)
            of_victim = []
            for method in POOL_METHODS:
                of_victim.append(
                    {
                        "victim": recipe.name,
                        "method": method,
                        "baseline": baseline,
                        "mixed": measure_pool(victim.model, mixed, method, held),
                        "nothing_in_clean_pool": finds_nothing(victim.model, clean, method),
                        "nothing_in_benign_model": finds_nothing(benign.model, mixed, method),
                    }
                )
                progress.update()
            results.replace(recipe.name, of_victim)


def measure_pool(model: nn.Module, pool: Pool, method: str, held: Held) -> dict[str, Any]:
    """Split a pool, build a bundle from what was found, and measure both."""
    samples = without_labels(pool.images, "pool")
    start = time.monotonic()
    try:
        split = split_pool(model, samples, EXAMPLE, method, generator=seeded())
    except FireError as error:
        return {"refused": str(error)}
    result: dict[str, Any] = {
        "split_seconds": round(time.monotonic() - start, 1),
        **shares_flagged(split.flagged, split.predicted, pool),
    }
    flagged, others = (x.nonzero().flatten().tolist() for x in (split.flagged, ~split.flagged))
    start = time.monotonic()
    try:
        evidence = gather_evidence(unlabelled(samples, others), unlabelled(samples, flagged))
        options = BuildOptions(seed=SEED, all_to_all=split.all_to_all)
        bundle = fire.build_from(model, evidence, options).bundle
    except FireError as error:
        return result | {"build_refused": str(error)}
    result["build_seconds"] = round(time.monotonic() - start, 1)
    return result | fire.measure(model, bundle, held)


def shares_flagged(flagged: Tensor, predicted: Tensor, pool: Pool) -> dict[str, float]:
    """Return the share of triggered images found, of those whose trigger works, and falsely so."""
    works = pool.triggered & (predicted == pool.wanted)
    return {
        "found": share(flagged[pool.triggered]),
        "found_of_working": share(flagged[works]),
        "falsely_flagged": share(flagged[~pool.triggered]),
    }


def finds_nothing(model: nn.Module, pool: Pool, method: str) -> bool:
    """Return whether a method finds no triggered image in a pool."""
    try:
        split_pool(model, without_labels(pool.images, "pool"), EXAMPLE, method, generator=seeded())
    except NoTriggerError:
        return True
    return False


def seeded() -> torch.Generator:
    """Return the random numbers of a split."""
    return torch.Generator().manual_seed(SEED)


if __name__ == "__main__":
    main()
