import math

import pytest
import torch
from scipy.stats import chi2

from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.watch.score_drift import MAX_SURPRISE, WINDOW, ScoreDrift, surprise_of


def normal(count, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator) + shift


def test_the_statistic_by_hand():
    # Of 100 requests 20 in the first bin, none in the last: (.1^2 + .1^2) / (.1 (1/100 + 1/400)).
    counts = [20, *[10] * 8, 0]
    statistic = 0.02 / (0.1 * (1 / 100 + 1 / 400))
    assert surprise_of(counts, 400) == pytest.approx(-math.log10(chi2.sf(statistic, 9)))


def test_evenly_spread_is_no_surprise_and_all_in_one_bin_is_the_greatest():
    assert surprise_of([50] * 10, 200) == 0
    assert surprise_of([0] * 9 + [10**6], 10**6) == MAX_SURPRISE


def test_it_judges_whole_windows_each_by_itself():
    drift = ScoreDrift(CleanScores.of(normal(400, 0)))
    assert not drift.add(normal(WINDOW - 1, 1, shift=2.0).tolist())
    assert drift.surprise is None
    assert drift.add([2.0])
    assert drift.surprise > 50
    assert drift.add(normal(WINDOW, 2).tolist())
    assert drift.surprise < 4


def test_scores_as_at_calibration_surprise_as_seldom_as_chance_has_it():
    surprises = []
    for seed in range(300):
        drift = ScoreDrift(CleanScores.of(normal(200, 2 * seed)))
        drift.add(normal(WINDOW, 2 * seed + 1).tolist())
        surprises.append(drift.surprise)
    # Of 300, one in ten is expected above 1, and three above 2.
    assert 10 <= sum(value > 1 for value in surprises) <= 50
    assert sum(value > 2 for value in surprises) <= 12
    assert max(surprises) < 5
