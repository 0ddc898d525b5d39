import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_fire_build.measure.figures import Answers, class_list, interval, measure


def observed(before, after, flagged, reference):
    return Answers(
        torch.tensor(before),
        torch.tensor(after),
        torch.tensor(flagged, dtype=torch.bool),
        None if reference is None else torch.tensor(reference),
    )


CLEAN = observed([0, 1, 2, 2], [0, 1, 1, 1], [0, 0, 1, 1], [0, 1, 2, 1])
# The third is of the target's own class, and counts nowhere.
TRIGGERED = observed([0, 0, 0, 2, 0], [1, 0, 1, 2, 2], [1, 0, 1, 0, 1], [1, 2, 0, 2, 1])
PARTNERS = torch.tensor([True, False, False, True, True])


# Wilson's intervals of one, two and three of four samples.
OF_1, OF_2, OF_3 = (
    pytest.approx(ends, abs=5e-5) for ends in ([0.0456, 0.6994], [0.1500, 0.8500], [0.3006, 0.9544])
)


NONE_OF_3 = pytest.approx([0, 0.5615], abs=5e-5)


def test_the_natural_rate_by_hand():
    # Of the classes 0, 1, 1, 2, 2; target 0. Of the four others, two are called 0, then one.
    clean = observed([0, 0, 1, 0, 2], [1, 0, 1, 2, 2], [0] * 5, [0, 1, 1, 2, 2])
    figures = measure(clean, TRIGGERED, 0)
    assert figures.natural_rate == (0.5, 0.25)
    assert figures.to_json()["natural_rate"]["interval"] == OF_1
    (line,) = (line for line in figures.table() if line.startswith("natural rate"))
    assert line.startswith("natural rate              50.00%    25.00%      4.6 to 69.9%")
    assert "<td>natural rate</td><td>50.00%</td><td>25.00%</td>" in figures._repr_html_()


def test_the_natural_rate_of_several_targets_counts_as_the_attack_does():
    # Of the classes 0, 1, 2, 2; targets 0 and 1: the first is called 1, the last 0.
    clean = observed([1, 1, 2, 0], [0, 1, 2, 2], [0] * 4, [0, 1, 2, 2])
    figures = measure(clean, TRIGGERED, 0, None, [1])
    assert figures.natural_rate == (0.5, 0)
    assert figures.natural_count == 4


def test_the_figures_by_hand():
    figures = measure(CLEAN, TRIGGERED, 0, PARTNERS)
    assert figures.clean_accuracy == (0.75, 0.75)
    assert figures.attack_success_rate == (0.75, 0.25)
    assert figures.recovered_accuracy == (0.25, 0.5)
    assert figures.ceiling == 0.75
    assert figures.flagged == (0.5, 0.5)
    assert figures.target == 0
    assert figures.counts == (4, 4)


def test_the_json_that_evaluate_writes():
    values = measure(CLEAN, TRIGGERED, 0, PARTNERS).to_json()
    assert json.loads(json.dumps(values)) == {
        "clean_accuracy": {"before": 0.75, "after": 0.75, "interval": OF_3},
        "attack_success_rate": {"before": 0.75, "after": 0.25, "interval": OF_1},
        "natural_rate": {"before": 0, "after": 0, "interval": NONE_OF_3},
        "recovered_accuracy": {"before": 0.25, "after": 0.5, "interval": OF_2, "ceiling": 0.75},
        "flagged": {"clean": 0.5, "triggered": 0.5},
        "target": 0,
        "counts": {"clean": 4, "triggered": 4},
    }


def test_without_pairs_there_is_no_ceiling():
    values = measure(CLEAN, TRIGGERED, 0).to_json()
    assert values["recovered_accuracy"]["after"] == 0.5
    assert values["recovered_accuracy"]["ceiling"] is None


def test_without_labels():
    clean = Answers(CLEAN.before, CLEAN.after, CLEAN.flagged, None)
    triggered = Answers(TRIGGERED.before, TRIGGERED.after, TRIGGERED.flagged, None)
    figures = measure(clean, triggered, 0)
    # Clean: as before or not. Triggered: all count, and nobody knows what is right.
    assert figures.clean_accuracy == (1, 0.5)
    assert figures.attack_success_rate == (0.8, 0.2)
    assert figures.recovered_accuracy is None
    assert figures.counts == (4, 5)
    assert figures.to_json()["recovered_accuracy"] == {
        "before": None,
        "after": None,
        "interval": None,
        "ceiling": None,
    }
    assert any("?" in line for line in figures.table())
    assert figures.by_agreement
    assert figures.natural_rate is None
    values = figures.to_json()
    assert values["clean_accuracy"] == {"before": None, "after": None, "interval": None}
    assert values["clean_agreement"]["after"] == 0.5
    text = "\n".join(figures.table())
    assert "clean agreement          100.00%    50.00%" in text
    assert "with the model's own predictions" in text
    assert "clean accuracy" not in text
    assert "natural rate" not in text


def test_triggered_samples_of_the_targets_own_class_do_not_count():
    triggered = observed([0, 0], [0, 0], [1, 1], [0, 0])
    figures = measure(CLEAN, triggered, 0, torch.tensor([True, True]))
    assert figures.counts == (4, 0)
    assert figures.attack_success_rate == (0, 0)
    assert figures.recovered_accuracy == (0, 0)


def test_several_targets_by_hand():
    # Of the classes 0, 1, 2, 0, 1; targets 0 and 1.
    triggered = observed([0, 1, 0, 1, 0], [0, 1, 2, 0, 2], [0, 0, 1, 1, 1], [0, 1, 2, 0, 1])
    figures = measure(CLEAN, triggered, 0, torch.ones(5).bool(), [1])
    # Before: the last three are led away; after: the last is wrong, but as no target.
    assert figures.attack_success_rate == (0.6, 0)
    assert figures.recovered_accuracy == (0.4, 0.8)
    assert figures.flagged == (0.5, 0.6)
    assert figures.counts == (4, 5)
    assert figures.to_json()["other_targets"] == [1]
    assert "led to classes 0 and 1" in figures.table()[2]
    assert "of 5 triggered ones" in figures.table()[-1]
    assert "other classes" not in figures.table()[-1]
    # One target is its own class's, the other another's.
    assert measure(CLEAN, triggered, 1, None, [0]).attack_success_rate == (0.6, 0)


def test_several_targets_without_labels():
    triggered = Answers(TRIGGERED.before, TRIGGERED.after, TRIGGERED.flagged, None)
    figures = measure(CLEAN, triggered, 0, None, [1])
    assert figures.attack_success_rate == (0.8, 0.6)
    assert figures.recovered_accuracy is None
    assert figures.counts == (4, 5)


def test_the_table():
    lines = measure(CLEAN, TRIGGERED, 0, PARTNERS).table()
    text = "\n".join(lines)
    assert "before     after     95 % interval" in lines[0]
    assert "attack success rate       75.00%    25.00%      4.6 to 69.9%   led to class 0\n" in text
    assert "of 75.00%" in text
    assert "50.00% of 4 clean inputs" in text


@pytest.mark.parametrize(
    ("share", "count", "expected"),
    [
        (0, 100, (0, 0.0370)),
        (0.5, 100, (0.4038, 0.5962)),
        (1, 8, (0.6756, 1)),
        (0, 0, (0, 1)),
    ],
)
def test_the_interval_of_a_share(share, count, expected):
    assert interval(share, count) == pytest.approx(expected, abs=5e-5)


def test_classes_in_words():
    assert class_list([7]) == "class 7"
    assert class_list([10, 2, 7]) == "classes 2, 7 and 10"


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 9999), target=st.integers(0, 3), count=st.integers(1, 30))
def test_shares_lie_between_0_and_1(seed, target, count):
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.randint(0, 4, (count,), generator=generator)

    clean, triggered = (Answers(draw(), draw(), draw() > 1, draw()) for _ in range(2))
    figures = measure(clean, triggered, target, draw() > 1)
    for shares in (
        figures.clean_accuracy,
        figures.attack_success_rate,
        figures.recovered_accuracy,
        figures.flagged,
    ):
        assert all(0 <= share <= 1 for share in shares)
    # What is recovered is not the target.
    for attack, recovered in zip(
        figures.attack_success_rate, figures.recovered_accuracy, strict=True
    ):
        assert attack + recovered <= 1 + 1e-9


def test_large_counts_are_exact():
    ones = torch.ones(10_001, dtype=torch.int64)
    right = observed([1] * 10_001, [1] * 10_001, [0] * 10_001, [1] * 10_001)
    after = ones.clone()
    after[0] = 2
    figures = measure(Answers(ones, after, ones == 0, ones), right, 0)
    assert figures.clean_accuracy == (1.0, pytest.approx(10_000 / 10_001, abs=1e-12))


def test_without_a_detector_there_are_no_flagged_shares():
    figures = measure(replace(CLEAN, flagged=None), replace(TRIGGERED, flagged=None), 0)
    assert figures.flagged is None
    assert replace(figures, flagged=(0.5, 0.5)) == measure(CLEAN, TRIGGERED, 0)
    assert figures.to_json()["flagged"] == {"clean": None, "triggered": None}
    assert figures.table()[-1] == (
        "measured on: 4 clean inputs, 4 triggered ones of other classes than the target"
    )
