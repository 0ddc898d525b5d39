import pytest
import torch

from tests.directions.comparison.hand_made import rows, samples
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.comparison.parts import draw, draw_size, hold_out_half, part_of
from torchserve_fire_build.samples.evidence import Evidence


def evidence(count=40, *, paired=True, clean=None):
    clean = samples(clean or count, 0)
    triggered = samples(count, 0 if paired else 1, triggered=True)
    # Backwards, so that a partner is not at the same place.
    return Evidence(clean, triggered, range(count) if paired else [])


def are_pairs(part):
    clean, triggered = (x.load(range(len(x))) for x in part.both)
    # The trigger is the fifth coordinate.
    return torch.equal(clean[list(part.partners)][:, :4], triggered[:, :4])


def test_a_part_keeps_its_pairs():
    part = part_of(evidence(), [1, 5, 7], [7, 1])
    assert list(part.partners) == [2, 0]
    assert are_pairs(part)


@pytest.mark.parametrize("paired", [True, False])
def test_the_halves_share_nothing_and_leave_nothing_out(paired):
    whole = evidence(clean=61, paired=paired)
    first, second = hold_out_half(whole, 0)
    for kind in ("clean", "triggered"):
        one, other, both = (rows(getattr(each, kind)) for each in (first, second, whole))
        assert not one & other
        assert one | other == both
        assert abs(len(one) - len(other)) <= 1
    assert first.paired == second.paired == paired
    if paired:
        assert are_pairs(first)
        assert are_pairs(second)


def test_the_halves_depend_on_the_seed_alone():
    first, same, other = (hold_out_half(evidence(), seed)[0] for seed in (0, 0, 1))
    assert rows(first.clean) == rows(same.clean) != rows(other.clean)


def test_too_few_for_halves():
    with pytest.raises(SamplesError, match="clean: 12 clean samples, expected at least 16"):
        hold_out_half(evidence(12), 0)


@pytest.mark.parametrize(
    ("there", "wanted", "count"), [(40, None, 30), (1000, None, 200), (9, None, 8), (40, 40, 40)]
)
def test_a_draw_takes_three_quarters_and_200_at_most(there, wanted, count):
    assert draw_size(evidence(there), wanted) == count


@pytest.mark.parametrize(("there", "wanted"), [(40, 41), (40, 7), (7, None)])
def test_a_draw_that_cannot_be(there, wanted):
    with pytest.raises(SamplesError, match=f"{there} triggered samples to build from, expected"):
        draw_size(evidence(there), wanted)


def test_a_draw_brings_the_partners_and_no_other_clean_samples():
    drawn = draw(evidence(), 10, 3)
    assert len(drawn.clean) == len(drawn.triggered) == 10
    assert are_pairs(drawn)
    assert rows(drawn.triggered) == rows(draw(evidence(), 10, 3).triggered)
    assert rows(drawn.triggered) != rows(draw(evidence(), 10, 4).triggered)


def test_a_draw_without_pairs_takes_three_quarters_of_the_clean_samples():
    drawn = draw(evidence(paired=False, clean=60), 10, 3)
    assert (len(drawn.clean), len(drawn.triggered)) == (45, 10)
    assert not drawn.paired
