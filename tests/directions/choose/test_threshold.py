import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_fire_build.choose.threshold import Thresholds
from torchserve_fire_build.samples.both import Both


def judged(scores, gain, eligible=None):
    scores = torch.as_tensor(scores, dtype=torch.float32)
    every = torch.ones(len(scores), dtype=torch.bool)
    return scores, every if eligible is None else torch.tensor(eligible), float(gain)


def choose_threshold(clean, triggered):
    thresholds = Thresholds(Both(clean[0], triggered[0]), Both(clean[1], triggered[1]))
    return thresholds.choose(clean[2], triggered[2])


def spread(center, width=0.05, count=50):
    return torch.linspace(center - width, center + width, count)


def test_the_shares_that_sets_of_the_samples_show():
    clean, triggered = torch.zeros(4), torch.tensor([10.0, 10, 10, 10, 20, 20, 20, 20])
    eligible = Both(torch.ones(4).bool(), torch.ones(8).bool())
    thresholds = Thresholds(Both(clean, triggered), eligible)
    every = torch.ones(8).bool()
    among = Both(torch.ones(3, 4).bool(), torch.stack([every, triggered == 10, triggered == 20]))
    flagged = thresholds.flagged_among(among)
    assert torch.allclose(flagged.triggered[0], thresholds.flagged.triggered)
    assert torch.allclose(flagged.clean[0], thresholds.flagged.clean)
    # The thresholds go from 0 to 20; the next sample may lie off, as one of five.
    fifteen = 150
    assert flagged.triggered[0, fifteen] == pytest.approx(0.5, abs=0.02)
    assert flagged.triggered[1, fifteen] < 0.2
    assert flagged.triggered[2, fifteen] > 0.8


def test_the_threshold_lies_in_the_gap_away_from_both():
    found = choose_threshold(judged(spread(0), -1), judged(spread(1), 1))
    assert 0.2 < found.value < 0.8


@settings(max_examples=40, deadline=None)
@given(
    low=st.floats(-3, 3),
    gap=st.floats(0.5, 5),
    width=st.floats(0.01, 0.1),
    harm=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_a_gap_is_found_wherever_it_is(low, gap, width, harm, seed):
    generator = torch.Generator().manual_seed(seed)
    clean = low + width * gap * torch.randn(60, generator=generator).clamp(-2.5, 2.5)
    triggered = low + gap + width * gap * torch.randn(60, generator=generator).clamp(-2.5, 2.5)
    found = choose_threshold(judged(clean, -harm), judged(triggered, 1))
    assert float(clean.max()) <= found.value <= float(triggered.min())


def test_no_sample_is_flagged_if_the_repair_harms():
    scores = spread(0.5, 0.5)
    found = choose_threshold(judged(scores, -1), judged(scores, 0.1))
    assert found.value >= float(scores.max()) - 0.05
    assert found.worth < 0.05


def test_no_sample_is_flagged_if_the_repair_does_nothing():
    found = choose_threshold(judged(spread(0), 0), judged(spread(1), 0))
    assert float(spread(0).max()) <= found.value


def test_a_harmful_repair_gets_a_higher_threshold():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(300, generator=generator)
    triggered = 2 + torch.randn(300, generator=generator)
    values = [
        choose_threshold(judged(clean, -harm), judged(triggered, 1)).value
        for harm in (0.05, 0.3, 1)
    ]
    assert values == sorted(values)
    assert values[0] + 0.5 < values[2]
    # Flagging costs little where the repair does no harm.
    assert choose_threshold(judged(clean, 0), judged(triggered, 1)).value < values[0]


def test_samples_that_may_not_be_flagged_do_not_count():
    clean = torch.cat([spread(0), spread(2)])
    eligible = [True] * 50 + [False] * 50
    found = choose_threshold(judged(clean, -1, eligible), judged(spread(1), 1))
    assert 0.2 < found.value < 0.8
    assert found.worth == pytest.approx(1, abs=0.05)


def test_no_clean_sample_may_be_flagged():
    none = [False] * 50
    found = choose_threshold(judged(spread(0), -1, none), judged(spread(1), 1))
    assert found.worth > 0.9
    # Where clean samples of the target's class will lie is not known: near the triggered ones it
    # is safest.
    assert 0.7 < found.value < 0.95


def test_a_few_eligible_clean_samples_are_spread_as_all_clean_samples_are():
    eligible = [True] * 2 + [False] * 20
    values = []
    for width in (0.01, 0.1, 0.3):
        clean = torch.cat([torch.tensor([0.0, 0.01]), spread(-0.5, width, 20)])
        found = choose_threshold(judged(clean, -0.3, eligible), judged(spread(1), 1))
        values.append(found.value)
    assert values == sorted(values)
    assert values[0] < values[2] < 1


def test_the_fewer_samples_the_farther_away_the_next_may_lie():
    # The narrower side is the triggered one: of few, the threshold keeps a distance.
    values = []
    for count in (5, 20, 500):
        triggered = spread(1, 0.01, count)
        clean = spread(0, 0.3, 500)
        values.append(choose_threshold(judged(clean, -1), judged(triggered, 1)).value)
    assert values == sorted(values)
    assert values[0] < values[2]


def test_equal_scores():
    found = choose_threshold(judged([0.0] * 10, -1), judged([1.0] * 10, 1))
    assert 0 <= found.value < 1
    assert found.worth == pytest.approx(1, abs=0.01)


def test_a_wider_gap_is_worth_more():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 100, generator=generator)
    worth = [
        choose_threshold(judged(noise[0], -1), judged(noise[1] + gap, 1)).worth
        for gap in (0, 2, 4, 8)
    ]
    assert worth == sorted(worth)
    assert worth[0] < 0.3
    assert worth[-1] > 0.95
