"""How often `screen` finds triggered pictures with clean samples alone, and how often clean ones.

    python -m benchmarks.screening --data cifar10-jpg.zip --cache DIR --victims badnets-resnet ...
    python -m benchmarks.screening --data cifar10-jpg.zip --cache DIR --published DIR

Both are test images, others for clean samples than for pictures: what a model was trained on, as
published ones were on all training images, it knows too well. Several draws are made of each number
and kind of pictures. A folder of published victims is laid out as `benchmarks/published.py` says. A
run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from torchserve_fire_build.common.progress import Progress
from torchserve_fire_build.estimate.candidate_layers import candidate_layers
from torchserve_fire_build.screening.chances import find_chances
from torchserve_fire_build.screening.compare_groups import LEVEL, compare_groups, holm
from torchserve_fire_build.screening.features import Features, join_features, read_features

from .altered_victims import Subject, find_victims
from .kept import Kept
from .measure import TEST_IMAGES, draw_test_images
from .options import add_options
from .samples import without_labels
from .victims.data import Images, load_data

RESULTS = Path(__file__).parent / "results" / "screening.json"
CLEAN = 300
NUMBERS = (10, 30)
SINGLES = 50
"""Single pictures of each kind, in each draw."""

DRAWS = 20


def main() -> None:
    """Measure what the results do not hold yet."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.set_defaults(victims=None)
    parser.add_argument(
        "--published",
        type=Path,
        metavar="DIR",
        help="folder of published victims, to measure instead of those of the catalogue",
    )
    parser.add_argument(
        "--draws", type=int, default=DRAWS, help="of clean samples and pictures (default: 20)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS,
        help="file; what it holds is not measured again (default: the committed results)",
    )
    args = parser.parse_args()
    victims = find_victims(args.published, args.victims)
    results = Kept(args.output)
    data = load_data(args.data, args.cache)
    _, others = draw_test_images(data)
    done = {row["victim"] for row in results.rows if row["draws"] == args.draws}
    for name, obtain in tqdm(victims.items(), desc="screening"):
        if name not in done:
            subject = obtain(data, args.cache, min(TEST_IMAGES, len(data.test)))
            results.replace(name, [{"victim": name, **measure(subject, others, args.draws)}])


def measure(subject: Subject, others: Images, draws: int) -> dict[str, Any]:
    """Screen pictures of each kind against clean samples; shares in [0, 1].

    Args:
        subject: the victim.
        others: images to draw clean samples from; none of the victim's held ones.
        draws: of clean samples and pictures.
    """
    held = subject.held
    pool, clean, triggered = _read(subject, others, held.clean, held.triggered)
    works = triggered.at((triggered.predicted == held.wanted).nonzero().flatten())
    wrong = clean.at((clean.predicted != held.clean.labels).nonzero().flatten())
    generator = torch.Generator().manual_seed(0)
    found: dict[str, dict[str, list[bool | None]]] = {}
    for draw in range(draws):
        known = pool.at(torch.randperm(len(pool), generator=generator)[:CLEAN])
        # Each class in its turn.
        called = draw % (int(pool.predicted.max()) + 1)
        pictures = {
            "triggered": _called_the_same(works, draw),
            "same": clean.at((clean.predicted == called).nonzero().flatten()),
            "mixed": clean,
            "mistakes": wrong.at((wrong.predicted == called).nonzero().flatten()),
        }
        orders = {
            kind: torch.randperm(len(every), generator=generator)
            for kind, every in pictures.items()
        }
        singles = {kind: every.at(orders[kind][:SINGLES]) for kind, every in pictures.items()}
        for kind, verdicts in _screen_singles(known, singles).items():
            of_kind = found.setdefault(kind, {})
            of_kind.setdefault("1", []).extend(verdicts)
            for number in NUMBERS:
                if number <= len(orders[kind]):
                    group = pictures[kind].at(orders[kind][:number])
                    of_kind.setdefault(str(number), []).append(_screen_group(known, group))
    return {
        "draws": draws,
        "clean": CLEAN,
        "level": LEVEL,
        "kinds": {
            kind: {number: _count(verdicts) for number, verdicts in by_number.items() if verdicts}
            for kind, by_number in found.items()
        },
    }


def _screen_singles(
    known: Features, pictures: Mapping[str, Features]
) -> dict[str, list[bool | None]]:
    """Return the verdict on each picture of each kind, as if it were given alone."""
    chances = find_chances(known, join_features(list(pictures.values())))
    pairs = zip(chances.chances.tolist(), chances.judged.tolist(), strict=True)
    verdicts = iter([chance <= LEVEL if judged else None for chance, judged in pairs])
    return {kind: list(islice(verdicts, len(every))) for kind, every in pictures.items()}


def _screen_group(known: Features, pictures: Features) -> bool | None:
    """Return whether pictures are found; None if they are too few to be."""
    groups = compare_groups(known, pictures)
    return any(holm(groups)) if groups else None


def _called_the_same(pictures: Features, draw: int) -> Features:
    """Return the pictures that are called one class: of several targets, each in its turn."""
    targets = [c for c, n in enumerate(pictures.predicted.bincount().tolist()) if n >= max(NUMBERS)]
    return pictures.at((pictures.predicted == targets[draw % len(targets)]).nonzero().flatten())


def _count(verdicts: Sequence[bool | None]) -> Mapping[str, float]:
    """Return how many sets of pictures there were, and the shares found and not told."""
    return {
        "sets": len(verdicts),
        "found": sum(verdict is True for verdict in verdicts) / len(verdicts),
        "not_told": sum(verdict is None for verdict in verdicts) / len(verdicts),
    }


def _read(subject: Subject, *groups: Images) -> list[Features]:
    samples = [without_labels(images, "images") for images in groups]
    layers = candidate_layers(subject.model, samples[0].description.example())
    with Progress("reading features", sum(map(len, samples))) as progress:
        return [read_features(subject.model, each, layers, progress) for each in samples]


if __name__ == "__main__":
    main()
