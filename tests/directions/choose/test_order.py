import torch

from torchserve_fire_build.choose.options import Outcome, Outcomes
from torchserve_fire_build.choose.order import (
    WORTH_A_REPAIR,
    order_options,
    outcome_of,
    worth,
)
from torchserve_fire_build.choose.threshold import CLEAN_WEIGHT, FLAG_COST

SIZE = 10
NONE: tuple[int, ...] = ()
ALL = tuple(range(SIZE))


def outcome(right, flagged, unrepaired):
    """Of ten samples: those that are right, flagged, and still predicted as the target."""

    def which(rows):
        mask = torch.zeros(SIZE, dtype=torch.bool)
        mask[list(rows)] = True
        return mask

    return Outcome(
        which(flagged), which(right).float(), which(unrepaired).long(), which(unrepaired)
    )


CLEAN = outcome(ALL, NONE, NONE)
BEFORE = Outcomes(CLEAN, outcome(NONE, NONE, ALL), outcome(NONE, NONE, ALL))
"""Ten clean samples that are right, and ten triggered and altered ones that are not."""


def repairing(rows, *, flagged=None):
    """What flags some samples, and repairs some."""
    flagged = rows if flagged is None else flagged
    return outcome(rows, flagged, [i for i in ALL if i not in rows])


def option(triggered, altered, clean=CLEAN):
    return Outcomes(clean, repairing(triggered), repairing(altered))


def test_a_further_repair_that_adds_nothing_is_not_taken():
    outcomes = {"features": option(ALL, ALL), "overlay": option(ALL, ALL)}
    assert order_options(outcomes, BEFORE, {"features"}) == ("features",)


def test_a_further_repair_that_undoes_what_the_first_does_not_flag_is_taken():
    outcomes = {"features": option(ALL, NONE), "altered": option(NONE, ALL)}
    order = order_options(outcomes, BEFORE, {"features"})
    assert set(order) == {"features", "altered"}
    after = outcome_of(order, outcomes, BEFORE)
    assert after.triggered.rightness.mean() == after.altered.rightness.mean() == 1


def test_the_first_is_taken_even_where_another_is_better():
    useless, better = option(NONE, NONE), option(ALL, ALL)
    assert order_options({"features": useless}, BEFORE, {"features"}) == ("features",)
    order = order_options({"features": useless, "overlay": better}, BEFORE, {"features"})
    assert set(order) == {"features", "overlay"}


def test_what_flags_falsely_is_asked_after_what_is_right():
    # The first flags all and leaves half of it wrong, but not predicted as the target.
    half = outcome(range(5), ALL, NONE)
    outcomes = {"features": Outcomes(CLEAN, half, half), "overlay": option(ALL, ALL)}
    assert order_options(outcomes, BEFORE, {"features"}) == ("overlay", "features")
    behind = outcome_of(("features", "overlay"), outcomes, BEFORE)
    assert behind.triggered.rightness.tolist() == [1.0] * 5 + [0.0] * 5


def test_what_is_still_predicted_as_the_target_is_repaired_by_the_next():
    # Both flag everything. The first leaves half of it predicted as the target.
    first = outcome(range(5), ALL, range(5, 10))
    outcomes = {"features": Outcomes(CLEAN, first, first), "overlay": option(ALL, ALL)}
    for order in (("features", "overlay"), ("overlay", "features")):
        after = outcome_of(order, outcomes, BEFORE)
        assert bool((after.triggered.rightness == 1).all())
        assert not after.triggered.unrepaired.any()


def test_a_further_repair_must_be_worth_more_than_its_price(monkeypatch):
    # One of ten altered samples, which count half: worth a twentieth.
    outcomes = {"features": option(ALL, range(9)), "altered": option(NONE, [9])}
    gain = worth(outcome_of(("features", "altered"), outcomes, BEFORE), BEFORE) - worth(
        outcome_of(("features",), outcomes, BEFORE), BEFORE
    )
    assert abs(gain - 0.05) < 1e-6
    assert gain > WORTH_A_REPAIR
    assert len(order_options(outcomes, BEFORE, {"features"})) == 2
    monkeypatch.setattr("torchserve_fire_build.choose.order.WORTH_A_REPAIR", 0.06)
    assert order_options(outcomes, BEFORE, {"features"}) == ("features",)


def test_a_further_repair_that_costs_clean_samples_more_than_it_gains_is_not_taken():
    costly = outcome(range(9), [9], NONE)
    outcomes = {
        "features": option(ALL, range(9)),
        "altered": Outcomes(costly, repairing(NONE), repairing([9])),
    }
    assert order_options(outcomes, BEFORE, {"features"}) == ("features",)


def test_the_order_does_not_depend_on_how_the_options_are_listed():
    half = outcome(range(5), ALL, NONE)
    outcomes = {
        "features": Outcomes(CLEAN, half, half),
        "overlay": option(ALL, range(8)),
        "altered": option(NONE, [8, 9]),
    }
    first = order_options(outcomes, BEFORE, {"features"})
    second = order_options(dict(reversed(outcomes.items())), BEFORE, {"features"})
    after = [worth(outcome_of(order, outcomes, BEFORE), BEFORE) for order in (first, second)]
    assert after[0] == after[1]
    assert first[-1] == second[-1] == "features"


def test_worth_by_hand():
    assert worth(BEFORE, BEFORE) == 0
    # All triggered and half of the altered samples are right.
    after = option(ALL, range(5))
    assert worth(after, BEFORE) == 0.75
    # Of ten clean samples, two are flagged, and one of them is lost.
    lossy = Outcomes(outcome(range(9), [8, 9], NONE), after.triggered, after.altered)
    expected = 0.75 - CLEAN_WEIGHT * (0.1 + 0.2 * FLAG_COST)
    assert abs(worth(lossy, BEFORE) - expected) < 1e-6


def test_a_clean_sample_that_a_repair_happens_to_correct_counts_nothing():
    before = Outcomes(outcome(range(9), NONE, NONE), BEFORE.triggered, BEFORE.altered)
    corrected = Outcomes(outcome(ALL, [9], NONE), BEFORE.triggered, BEFORE.altered)
    assert abs(worth(corrected, before) + CLEAN_WEIGHT * 0.1 * FLAG_COST) < 1e-6


def test_an_option_that_is_always_taken_is_taken_though_it_adds_nothing():
    outcomes = {"features": option(ALL, ALL), "overlay": option(ALL, ALL)}
    assert set(order_options(outcomes, BEFORE, {"features", "overlay"})) == set(outcomes)
