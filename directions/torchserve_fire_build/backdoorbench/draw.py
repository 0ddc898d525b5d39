"""Drawing some of many images, evenly over their classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Drawn:
    """Images that were drawn, by their indices in the clean test set.

    Attributes:
        pairs: there are with and without the trigger.
        alone: of the classes that no trigger is put on: there are without it.
    """

    pairs: Sequence[int]
    alone: Sequence[int]


def draw(
    pairs: Sequence[int],
    alone: Sequence[int],
    label: Callable[[int], int],
    counts: tuple[int, int],
    seed: int,
) -> tuple[Drawn, Drawn]:
    """Draw images to build from, and others to evaluate on.

    Each class has its share of all images. Where there are fewer images than asked for, half of
    them at most are to build from.

    Args:
        pairs: indices of images that there are with the trigger, too.
        alone: indices of other images.
        label: returns the class of an index.
        counts: of pairs to build from, and of pairs to evaluate on.
        seed: of the random numbers.
    """
    build = min(counts[0], max(1, len(pairs) // 2))
    test = min(counts[1], len(pairs) - build)
    random = Random(seed)  # noqa: S311 - no secret.
    drawn = []
    for rows in (pairs, alone):
        # Images of classes without triggers are as many as in the data set, beside the pairs.
        sizes = [round(count * len(rows) / len(pairs)) for count in (build, build + test)]
        both = _spread(rows, label, sizes[1], random)
        first = set(_spread(both, label, min(sizes[0], len(both)), random))
        drawn.append((sorted(first), sorted(set(both) - first)))
    (build_pairs, test_pairs), (build_alone, test_alone) = drawn
    return Drawn(build_pairs, build_alone), Drawn(test_pairs, test_alone)


def _spread(
    rows: Sequence[int], label: Callable[[int], int], count: int, random: Random
) -> list[int]:
    """Draw rows at random, evenly over the classes."""
    mixed = sorted(rows)
    random.shuffle(mixed)
    mixed.sort(key=label)
    start = random.random()
    return [mixed[int((i + start) * len(mixed) / count)] for i in range(count)]
