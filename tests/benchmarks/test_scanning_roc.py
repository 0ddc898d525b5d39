import io

import pytest
from PIL import Image

from benchmarks.scanning_roc import area_under, draw_roc, roc


def row(probability, *, backdoored, count=200):
    return {
        "probability": probability,
        "backdoored": backdoored,
        "found": probability >= 0.9,
        "count": count,
    }


ROWS = [
    row(0.99, backdoored=True),
    row(0.95, backdoored=False),
    row(0.95, backdoored=True),
    row(0.2, backdoored=False),
]


def test_each_probability_is_a_point_of_alarms_and_finds():
    assert roc(ROWS) == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    # Three of four pairs are, and one is a tie, which counts half.
    assert area_under(roc(ROWS)) == pytest.approx(3.5 / 4)


def test_the_picture_has_a_curve_for_each_number_of_images():
    few = [row(0.3, backdoored=True, count=50), row(0.1, backdoored=False, count=50)]
    one, two = (Image.open(io.BytesIO(draw_roc(rows))) for rows in (ROWS, [*ROWS, *few]))
    assert one.size == two.size
    assert one.tobytes() != two.tobytes()


def test_a_number_of_images_without_victims_has_no_curve():
    benign = row(0.1, backdoored=False, count=500)
    assert draw_roc([*ROWS, benign]) == draw_roc(ROWS)
