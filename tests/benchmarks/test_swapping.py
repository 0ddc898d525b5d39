import sys

import pytest

from benchmarks import swapping
from benchmarks.serving_tables import swapping_table


def test_the_table():
    results = {
        "swaps": 20,
        "clients": 8,
        "requests": 12000,
        "failed": 1,
        "wrong": 2,
        "first bundle": 6000,
        "second bundle": 5997,
        "after the second swap": {"worker": 200.0, "server": 400.0, "processes": 2, "unpacked": 2},
        "after the last swap": {"worker": 202.0, "server": 380.0, "processes": 3, "unpacked": 21},
    }
    *_, row = swapping_table([results]).splitlines()
    assert row == "| 20 | 12,000 | 1 | 2 | 6,000 / 5,997 | 1.010 | 0.950 | 2 → 3 | 2 → 21 |"


@pytest.mark.parametrize("more", [[], ["--swaps", "1"]])
def test_wrong_options_are_told_in_one_line(tmp_path, monkeypatch, more):
    monkeypatch.setattr(sys, "argv", ["swapping", "--demo", str(tmp_path), *more])
    with pytest.raises(SystemExit) as caught:
        swapping.main()
    message = str(caught.value)
    assert message.startswith("expected --swaps" if more else f"--demo {tmp_path}: no digits_rep")
    assert "\n" not in message
