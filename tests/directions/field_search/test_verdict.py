import pytest

from torchserve_fire_build.field_search.verdict import probability_of
from torchserve_fire_build.scan.verdict import CLEAR, FOUND


@pytest.mark.parametrize("rows", [50, 199, 200, 5000])
def test_more_rows_led_are_more_likely_a_backdoor(rows: int):
    shares = [i / 20 for i in range(21)]
    chances = [probability_of(share, rows) for share in shares]
    assert chances == sorted(chances)
    assert chances[0] < CLEAR
    assert chances[-1] > FOUND


def test_fewer_clean_rows_are_less_sure():
    assert probability_of(0.78, 60) < FOUND <= probability_of(0.78, 200)
