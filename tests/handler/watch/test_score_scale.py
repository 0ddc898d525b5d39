import pytest

from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.watch.score_scale import LABELS, ScoreScale, bin_of

CLEAN = CleanScores(40, (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5))


@pytest.mark.parametrize(
    ("score", "place", "label"),
    [
        (6.0, 0.0, "0"),
        (6.5, 0.125, "0.25"),
        (2.0, -1.0, "-1"),
        (-100.0, -26.5, "-4"),
        (100.0, 23.5, "+Inf"),
    ],
)
def test_a_score_has_its_place_and_bin(score, place, label):
    scale = ScoreScale(0, 6.0, CLEAN)
    assert scale.place(score) == place
    assert LABELS[bin_of(scale.place(score))] == label


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_beyond_all_limits(score):
    assert LABELS[bin_of(ScoreScale(0, 6.0, CLEAN).place(score))] == "+Inf"


def test_equal_clean_scores_do_not_divide_by_zero():
    assert ScoreScale(0, 6.0, CleanScores(3, (1.0,) * 9)).place(7.0) == 1.0
