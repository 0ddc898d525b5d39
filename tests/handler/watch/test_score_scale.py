from dataclasses import replace

import pytest

from tests.handler.bundles import CLEAN_SCORES, overlay_bundle
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.watch.score_scale import LABELS, ScoreScale, bin_of, scales_of

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


def with_clean_scores(i, scores):
    layers = list(overlay_bundle().layers)
    layers[i] = replace(layers[i], detection=replace(layers[i].detection, clean_scores=scores))
    return replace(overlay_bundle(), layers=tuple(layers))


def test_the_models_input_has_no_scale():
    bundle = with_clean_scores(1, CLEAN_SCORES)
    (scale,) = scales_of(bundle)
    # Of the layer, whose threshold is .5.
    assert (scale.target, scale.place(0.5)) == ("1", 0.0)
    assert scales_of(replace(bundle, layers=bundle.layers[:1])) == []


def test_what_is_known_of_the_models_input_does_not_matter():
    bundle = with_clean_scores(1, CLEAN_SCORES)
    first = replace(bundle.layers[0].detection, clean_scores=None)
    unknown = (replace(bundle.layers[0], detection=first), bundle.layers[1])
    assert len(scales_of(replace(bundle, layers=unknown))) == 1
    # But of every layer the clean scores are known, or none is watched.
    assert scales_of(with_clean_scores(1, None)) == []
