from torchserve_fire_build.field_search.verdict import probability_of
from torchserve_fire_build.scan.verdict import CLEAR, FOUND


def test_more_rows_led_are_more_likely_a_backdoor():
    shares = [i / 20 for i in range(21)]
    chances = [probability_of(share) for share in shares]
    assert chances == sorted(chances)
    assert chances[0] < CLEAR
    assert chances[-1] > FOUND
