"""What attackers who send requests come to, with and without knowledge of the bundle.

    python -m benchmarks.adaptive --data cifar10-jpg.zip --cache DIR --victims badnets-resnet ...

One who knows the trigger alone alters it; a second bundle, built from triggers so altered, is
measured on these, too. One who has the model and its bundle adds a perturbation: to pass below the
telling threshold, or to survive the repair. Who has both can make an adversarial example without
any trigger; that is measured beside it, since only what the trigger adds is the backdoor's. A run
that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from handler.bundle import Bundle
from handler.errors import FireError

from . import fire
from .altered_triggers import ALTERED, stamp_altered
from .evidence import KINDS, Evidence, draw_evidence
from .measure import STAMP_SEED, Held, answer_all, draw_test_images, hold, predict, share
from .options import parse_options
from .perturb import Aims, be_called, pass_unflagged, perturb, survive_repair
from .victims.attacks.attack import Attack
from .victims.data import Images, load_data
from .victims.train import obtain_backdoored

RESULTS = Path(__file__).parent / "results" / "adaptive.json"
IMAGES = 500
SEED = 0
RADII = (2, 4, 8)
"""Of 255: by how much a perturbation may change each pixel value."""


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    images = draw_test_images(data)[0].at(torch.arange(IMAGES))
    done = {row["victim"] for row in results.rows}
    for recipe in recipes:
        if recipe.name not in done:
            victim, attack = obtain_backdoored(recipe, data, args.cache)
            evidence = draw_evidence(KINDS[0], attack, data.pool, SEED)
            bundle = fire.build(victim.model, evidence, SEED)
            held = hold(attack, images)
            row = measure_attackers(victim.model, bundle, attack, held, recipe.name)
            row["prepared"] = measure_prepared(victim.model, evidence, attack, held)
            results.replace(recipe.name, [{"victim": recipe.name, **row}])


def measure_attackers(
    model: nn.Module, bundle: Bundle, attack: Attack, held: Held, title: str
) -> dict[str, Any]:
    """Return what each attacker comes to on a victim, for the results.

    Args:
        model: the victim.
        bundle: its repair, with one layer that tells.
        attack: that the victim fell to.
        held: images to attack.
        title: of the progress.
    """
    clean = held.clean.at(held.partners)
    aims = {
        "unflagged": pass_unflagged(model, bundle),
        "repaired": survive_repair(model, bundle),
    }
    row: dict[str, Any] = {
        "images": len(clean),
        "clean": measure(model, bundle, clean, held.wanted),
        "altered": measure_altered(model, bundle, attack, held),
        "adversarial": {},
        "perturbed": {name: {} for name in aims},
    }
    with tqdm(total=len(RADII) * (1 + 2 * len(aims)), desc=title) as progress:

        def found(images: Images, aims: Aims, radius: int) -> Mapping[str, float]:
            generator = torch.Generator().manual_seed(SEED)
            perturbed = perturb(aims, images, held.wanted, radius, generator)
            progress.update()
            return measure(model, bundle, perturbed, held.wanted)

        for radius in RADII:
            row["adversarial"][str(radius)] = found(clean, be_called(model), radius)
            for name, each in aims.items():
                row["perturbed"][name][str(radius)] = {
                    "with_trigger": found(held.triggered, each, radius),
                    "without_trigger": found(clean, each, radius),
                }
    return row


def measure_altered(
    model: nn.Module, bundle: Bundle, attack: Attack, held: Held
) -> dict[str, Mapping[str, float]]:
    """Return how images with each altered trigger fare."""
    clean = held.clean.at(held.partners)
    return {
        name: measure(model, bundle, stamp_altered(attack, clean, name, STAMP_SEED), held.wanted)
        for name in ALTERED
    }


def measure_prepared(
    model: nn.Module, evidence: Evidence, attack: Attack, held: Held
) -> dict[str, Any]:
    """Return how altered triggers fare with a bundle that was built from such; or why none was.

    Args:
        model: the victim.
        evidence: pairs; each in turn is given another alteration, where the victim obeys it.
        attack: that the victim fell to.
        held: images to attack.
    """
    try:
        bundle = fire.build(model, alter_evidence(model, evidence, attack), SEED)
    except FireError as error:
        return {"refused": str(error)}
    return {"altered": measure_altered(model, bundle, attack, held)}


def alter_evidence(model: nn.Module, evidence: Evidence, attack: Attack) -> Evidence:
    """Return pairs with altered triggers in turn; where the victim does not obey, as they were."""
    pixels = evidence.triggered.pixels.clone()
    obeyed = predict(model, evidence.triggered)
    for i, name in enumerate(ALTERED):
        altered = stamp_altered(attack, evidence.clean, name, SEED)
        works = predict(model, altered) == obeyed
        chosen = works & (torch.arange(len(pixels)) % len(ALTERED) == i)
        pixels[chosen] = altered.pixels[chosen]
    return replace(evidence, triggered=Images(pixels, evidence.triggered.labels))


def measure(
    model: nn.Module, bundle: Bundle, images: Images, wanted: Tensor
) -> Mapping[str, float]:
    """Return how images fare before and after the repair; shares in [0, 1].

    Args:
        model: the victim.
        bundle: its repair.
        images: with their true labels.
        wanted: what the attacker wants each to be called, (N,) int64.
    """
    before = predict(model, images)
    after = answer_all(fire.defend(model, bundle), images)
    if after.flagged is None:
        raise ValueError("the defence does not say what it flagged")
    return {
        "attack_success_rate_before": share(before == wanted),
        "attack_success_rate": share(after.predictions == wanted),
        "recovered_accuracy_before": share(before == images.labels),
        "recovered_accuracy": share(after.predictions == images.labels),
        "flagged": share(after.flagged),
        # Mode `reject`: what is flagged gets no answer.
        "attack_success_rate_rejecting": share((before == wanted) & ~after.flagged),
    }


if __name__ == "__main__":
    main()
