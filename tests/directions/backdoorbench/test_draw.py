"""What is drawn is drawn evenly, once, and the same again."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from torchserve_fire_build.backdoorbench.draw import draw

LABELS = st.lists(st.integers(0, 6), min_size=3, max_size=120)


@given(LABELS, st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_each_image_is_drawn_once_and_each_class_has_its_share(
    labels: list[int], build: int, test: int, seed: int
) -> None:
    pairs = [i for i, label in enumerate(labels) if label != 3]
    alone = [i for i, label in enumerate(labels) if label == 3]
    if len(pairs) < 2:
        return
    first, second = draw(pairs, alone, labels.__getitem__, (build, test), seed)
    assert len(first.pairs) == min(build, len(pairs) // 2)
    assert len(second.pairs) == min(test, len(pairs) - len(first.pairs))
    drawn = [*first.pairs, *first.alone, *second.pairs, *second.alone]
    assert len(set(drawn)) == len(drawn)
    assert {*first.pairs, *second.pairs} <= {*pairs}
    assert {*first.alone, *second.alone} <= {*alone}
    both = Counter(labels[i] for i in (*first.pairs, *second.pairs))
    of_all = Counter(labels[i] for i in pairs)
    for label, count in of_all.items():
        share = count * both.total() / len(pairs)
        assert abs(both[label] - share) <= 1
    assert (first, second) == draw(pairs, alone, labels.__getitem__, (build, test), seed)
