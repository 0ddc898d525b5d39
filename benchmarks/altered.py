"""What an attacker comes to who knows the trigger alone, and alters it.

    python -m benchmarks.altered --data cifar10-jpg.zip --cache DIR --victims badnets-resnet ...
    python -m benchmarks.altered --data cifar10-jpg.zip --cache DIR --published DIR

Each victim is repaired by bundles from several kinds of evidence, whose triggers are as they are;
one is of a build that alters them itself, one of a build that does not. Each alteration that the
unrepaired victim obeys in at least half of the images is sent to the repaired one. A folder of
published victims is laid out as `benchmarks/published.py` says. A run that was interrupted goes on
where it stopped.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire_build.building.result import BuildResult
from torchserve_fire_build.rivals.rival import Defence, answer_with

from . import fire
from .altered_victims import Shown, Subject, find_victims, show_altered
from .evidence import KINDS, draw_evidence
from .kept import Kept
from .measure import TEST_IMAGES, answer_all, predict, share
from .options import add_options
from .victims.data import load_data

RESULTS = Path(__file__).parent / "results" / "altered.json"
EVIDENCE = {kind.name: kind for kind in KINDS[:3]}
AUGMENT = ("standard", "none")
"""How much a build alters triggers itself: as it does by default, and not at all."""
OBEYED = 0.5
"""Share of the images in which the victim must obey an altered trigger, to have it judged."""
Row = Mapping[str, Any]


def main() -> None:
    """Measure what the results do not hold yet."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    add_measured(parser)
    args = parser.parse_args()
    victims = find_victims(args.published, args.victims)
    results = Kept(args.output)
    data = load_data(args.data, args.cache)
    steps = [
        (evidence, seed, augment)
        for seed in args.seeds
        for evidence in args.evidence
        for augment in args.augment
    ]
    with tqdm(total=len(victims) * len(steps), desc="altered triggers") as progress:
        for name, obtain in victims.items():
            progress.set_postfix_str(name)
            count = min(args.images, TEST_IMAGES, len(data.test))
            kept = {_key(row): row for row in results.rows if row["victim"] == name}
            missing = [s for s in steps if s not in kept or kept[s]["images"] != count]
            progress.update(len(steps) - len(missing))
            if not missing:
                continue
            subject = obtain(data, args.cache, count)
            shown = show_altered(subject)
            for evidence, seed, augment in missing:
                drawn = draw_evidence(EVIDENCE[evidence], subject.attack, subject.pool, seed)
                build = partial(fire.build, subject.model, drawn, seed, augment=augment)
                kept[evidence, seed, augment] = {
                    "victim": name,
                    "evidence": evidence,
                    "seed": seed,
                    "augment": augment,
                    **measure_draw(subject, shown, build),
                }
                results.replace(name, list(kept.values()))
                progress.update()


def add_measured(parser: ArgumentParser) -> None:
    """Add the options that say what is measured."""
    add_options(parser)
    parser.set_defaults(victims=None)
    parser.add_argument(
        "--published",
        type=Path,
        metavar="DIR",
        help="folder of published victims, to measure instead of those of the catalogue; "
        "--victims are then NAME-TRIGGER or NAME-DATA-TRIGGER, after the folder's name",
    )
    parser.add_argument(
        "--images", type=int, default=1000, help="test images, of all classes (default: 1000)"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="draws of the evidence (default: 0)"
    )
    parser.add_argument(
        "--evidence",
        nargs="+",
        choices=EVIDENCE,
        default=list(EVIDENCE),
        help="what bundles are built from (default: all)",
    )
    parser.add_argument(
        "--augment",
        nargs="+",
        choices=AUGMENT,
        default=list(AUGMENT),
        help="how the builds alter triggers themselves (default: both)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS,
        help="file; what it holds is not measured again (default: the committed results)",
    )


def measure_draw(
    subject: Subject, shown: Mapping[str, Shown], build: Callable[[], BuildResult]
) -> dict[str, Any]:
    """Return what a bundle does, for the results; shares in [0, 1].

    A build that refuses leaves the victim as it was.

    Args:
        subject: the victim.
        shown: images with the altered triggers.
        build: builds the bundle.
    """
    model, held = subject.model, subject.held
    start = process_time()
    try:
        bundle = build().bundle
    except FireError as error:
        built, defence = {"refused": str(error)}, answer_with(model)
    else:
        built, defence = {"chosen": describe_choice(bundle)}, fire.defend(model, bundle)
    seconds = process_time() - start
    before = predict(model, held.clean)
    after = answer_all(defence, held.clean)
    return {
        "images": len(held.clean),
        "build_cpu_seconds": round(seconds, 1),
        **built,
        "clean": {
            "accuracy_before": share(before == held.clean.labels),
            "accuracy": share(after.predictions == held.clean.labels),
            "natural_rate": share(before[held.partners] == held.wanted),
            "flagged": None if after.flagged is None else share(after.flagged),
        },
        "triggers": {name: judge(subject, each, defence) for name, each in shown.items()},
    }


def judge(subject: Subject, shown: Shown, defence: Defence) -> dict[str, float | None]:
    """Return how images with an altered trigger fare; before repair alone if few obey it."""
    wanted, labels = subject.held.wanted, shown.images.labels
    obeyed = share(shown.predictions == wanted)
    found: dict[str, float | None] = {
        "attack_success_rate_before": obeyed,
        "recovered_accuracy_before": share(shown.predictions == labels),
        "ceiling": shown.ceiling,
    }
    if obeyed < OBEYED:
        return found
    after = answer_all(defence, shown.images)
    recovered = share(after.predictions == labels)
    return found | {
        "attack_success_rate": share(after.predictions == wanted),
        "recovered_accuracy": recovered,
        "recovered_to_ceiling": recovered / shown.ceiling,
        "flagged": None if after.flagged is None else share(after.flagged),
    }


def describe_choice(bundle: Bundle) -> str:
    """Return the layers of a bundle, with what each does there, in one line."""
    parts = []
    for layer in bundle.layers:
        done = [] if layer.detection is None else ["detects"]
        if layer.correction is not None:
            done.append(f"{layer.correction.form} {layer.correction.strength:g}")
        parts.append(f"{layer.name}: {', '.join(done)}")
    return "; ".join(parts)


def _key(row: Row) -> tuple[str, int, str]:
    return row["evidence"], row["seed"], row["augment"]


if __name__ == "__main__":
    main()
