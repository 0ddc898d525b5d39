import sys

import pytest

from benchmarks import engines
from benchmarks.serving_tables import engines_mixed_table, engines_table

RATIOS = {"p50": 1.0, "p99": 1.1, "throughput": 0.9}
ROWS = [
    {"victim": "kserve", "requests": 20000, "bad": 2000, "lost": 0, "wrong": 1, "memory": 1.01},
    {
        "victim": "kserve",
        "clients": 1,
        "requests": 96,
        "plain_milliseconds": 50.0,
        "ratios": {"again / plain": RATIOS, "repaired / plain": RATIOS | {"p50": 1.02}},
    },
]


def test_each_table_takes_its_own_rows():
    *_, row = engines_table(ROWS).splitlines()
    assert row == (
        "| kserve | 1 client | 96 | 50.0 | 1.000 / 1.100 / 0.900 | 1.020 / 1.100 / 0.900 |"
    )
    *_, row = engines_mixed_table(ROWS).splitlines()
    assert row == "| kserve | 20,000 | 2,000 | 0 | 1 | 1.010 |"


@pytest.mark.parametrize("more", [["--mixed", "2000"], ["--requests", "0"], ["--engine", "none"]])
def test_wrong_options_are_told(monkeypatch, capsys, more):
    monkeypatch.setattr(sys, "argv", ["engines", "--engine", "kserve", *more])
    with pytest.raises(SystemExit):
        engines.main()
    assert "expected --requests" in capsys.readouterr().err or more[0] == "--engine"
