import pytest

from torchserve_fire_build.common.duration import about, shown_seconds


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "less than 1 s"),
        (12.4, "12 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5900, "98 min"),
        (6000, "1 h 40 min"),
        (30_000, "8 h 20 min"),
    ],
)
def test_a_duration_for_people(seconds, shown):
    assert shown_seconds(seconds) == shown


def test_an_estimate():
    assert about(12.4) == "about 12 s"
    assert about(0.2) == "less than 1 s"
