"""Repair from evidence as it comes: other sources, wrong labels, triggers that do nothing.

    python -m benchmarks.as_it_comes --data cifar10-jpg.zip --other tiny-imagenet-200-64px.zip \
        --cache DIR --victims badnets-resnet ...
    python -m benchmarks.as_it_comes ... --published DIR

Each bundle is built from evidence with one flaw, by the default build, and measured on test images.
A folder of published victims is laid out as `benchmarks/published.py` says. A run that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire_build.rivals.jpeg import compress

from . import fire
from .altered_victims import find_victims
from .evidence import Evidence, EvidenceKind, draw_evidence
from .kept import Kept
from .measure import TEST_IMAGES, best_reader, measure_baseline, predict
from .options import add_options
from .victims.data import Images, load_data
from .victims.poison import to_float, to_pixels

RESULTS = Path(__file__).parent / "results" / "as_it_comes.json"
UNPAIRED = EvidenceKind(100, paired=False)
MISLABELLED = EvidenceKind(100, paired=False, mislabelled=True)


@dataclass(frozen=True)
class Spoiler:
    """What flaws are made with.

    Attributes:
        model: the victim.
        pool: images of the victim's own data set.
        other: images of another source, of the same size; their labels mean nothing.
        generator: draws which images and labels are wrong.
    """

    model: nn.Module
    pool: Images
    other: Images
    generator: torch.Generator

    def nothing(self, evidence: Evidence) -> Evidence:
        """Leave the evidence as it should be."""
        return evidence

    def failing_triggers(self, evidence: Evidence) -> Evidence:
        """Let a third of the triggered images carry no trigger: it was lost, or never there."""
        count = len(evidence.triggered) // 3
        wanted = int(predict(self.model, evidence.triggered).mode().values)
        order = torch.randperm(len(self.pool), generator=self.generator)
        others = self.pool.at(order)
        plain = others.at((predict(self.model, others) != wanted).nonzero().flatten()[:count])
        kept = evidence.triggered.at(torch.arange(count, len(evidence.triggered)))
        return replace(evidence, triggered=_join(plain, kept))

    def other_source(self, evidence: Evidence) -> Evidence:
        """Take clean images from another source."""
        return replace(evidence, clean=self._others(len(evidence.clean)))

    def other_compression(self, evidence: Evidence) -> Evidence:
        """Compress the clean images, and not the triggered ones."""
        pixels = to_pixels(compress(to_float(evidence.clean.pixels)))
        return replace(evidence, clean=Images(pixels, evidence.clean.labels))

    def other_things(self, evidence: Evidence) -> Evidence:
        """Put images of other things in the place of a tenth of the clean ones."""
        count = len(evidence.clean) // 10
        kept = evidence.clean.at(torch.arange(count, len(evidence.clean)))
        return replace(evidence, clean=_join(self._others(count), kept))

    def wrong_labels(self, evidence: Evidence) -> Evidence:
        """Draw a fifth of the labels anew."""
        return replace(
            evidence,
            clean=self._mislabel(evidence.clean),
            triggered=self._mislabel(evidence.triggered),
        )

    def _others(self, count: int) -> Images:
        order = torch.randperm(len(self.other), generator=self.generator)[:count]
        found = self.other.at(order)
        return Images(found.pixels, predict(self.model, found))

    def _mislabel(self, images: Images) -> Images:
        order = torch.randperm(len(images), generator=self.generator)[: len(images) // 5]
        labels = images.labels.clone()
        classes = int(self.pool.labels.max()) + 1
        labels[order] = torch.randint(classes, (len(order),), generator=self.generator)
        return Images(images.pixels, labels)


Flaw = Callable[[Spoiler, Evidence], Evidence]

FLAWS: Mapping[str, tuple[EvidenceKind, Flaw]] = {
    "as it should be": (UNPAIRED, Spoiler.nothing),
    "a third of the triggers do nothing": (UNPAIRED, Spoiler.failing_triggers),
    "clean images of another source": (UNPAIRED, Spoiler.other_source),
    "clean images compressed": (UNPAIRED, Spoiler.other_compression),
    "a tenth of the clean images of other things": (UNPAIRED, Spoiler.other_things),
    "a fifth of the labels wrong": (UNPAIRED, Spoiler.wrong_labels),
    "a twentieth in the other folder": (MISLABELLED, Spoiler.nothing),
    "8 triggered images": (EvidenceKind(8, paired=False), Spoiler.nothing),
    "5 triggered images": (EvidenceKind(5, paired=False), Spoiler.nothing),
    "5 pairs": (EvidenceKind(5, paired=True), Spoiler.nothing),
}
"""The kinds of evidence, by what is wrong with them."""


def main() -> None:
    """Measure what the results do not hold yet."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.set_defaults(victims=None)
    parser.add_argument("--other", type=Path, required=True, help="images of another source")
    parser.add_argument(
        "--published",
        type=Path,
        metavar="DIR",
        help="folder of published victims, to measure instead of those of the catalogue",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="draws of the evidence (default: 0)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    victims = find_victims(args.published, args.victims)
    results, data = Kept(args.output), load_data(args.data, args.cache)
    other = resized(load_data(args.other, args.cache).pool, data.test.pixels.shape[-1])
    count = min(TEST_IMAGES, len(data.test))
    steps = [(flaw, seed) for seed in args.seeds for flaw in FLAWS]
    with tqdm(total=len(victims) * len(steps), desc="as it comes") as progress:
        for name, obtain in victims.items():
            progress.set_postfix_str(name)
            rows = [row for row in results.rows if row["victim"] == name]
            done = {(row["flaw"], row["seed"]) for row in rows}
            missing = [step for step in steps if step not in done]
            progress.update(len(steps) - len(missing))
            if not missing:
                continue
            subject = obtain(data, args.cache, count)
            model, held = subject.model, subject.held
            baseline = asdict(
                measure_baseline(model, best_reader(subject.others, held.triggered), held)
            )
            for flaw, seed in missing:
                kind, spoil = FLAWS[flaw]
                drawn = draw_evidence(kind, subject.attack, data.pool, seed)
                generator = torch.Generator().manual_seed(seed)
                evidence = spoil(Spoiler(model, data.pool, other, generator), drawn)
                row = {"victim": name, "flaw": flaw, "seed": seed, "baseline": baseline}
                try:
                    bundle = fire.build(model, evidence, seed).bundle
                except FireError as error:
                    rows.append({**row, "refused": str(error)})
                else:
                    rows.append({**row, **fire.measure(model, bundle, held)})
                results.replace(name, rows)
                progress.update()


def resized(images: Images, side: int) -> Images:
    """Return images (N, 3, H, W) with another side, averaged over areas."""
    smaller: Tensor = F.interpolate(to_float(images.pixels), (side, side), mode="area")
    return Images(to_pixels(smaller), images.labels)


def _join(first: Images, second: Images) -> Images:
    return Images(
        torch.cat([first.pixels, second.pixels]), torch.cat([first.labels, second.labels])
    )


if __name__ == "__main__":
    main()
