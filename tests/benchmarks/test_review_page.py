from __future__ import annotations

import pytest

from benchmarks import review_page
from benchmarks.review_page import review_page_table, summed


def test_the_table_compares_with_the_fewest_pictures() -> None:
    opened = [{"first": 100.0, "pictures": 300.0}, {"first": 200.0, "pictures": 400.0}]
    rows = [
        summed(10_000, [{k: 2 * v for k, v in each.items()} for each in opened], [16.0, 50.0]),
        summed(100, opened, [16.0, 17.0, 16.0, 40.0]),
    ]
    many, few = review_page_table(rows).splitlines()[2:]
    assert many == "| 10,000 | 0.30 s (0.40 s) | 2.00 | 0.70 s (0.80 s) | 50.0% |"
    assert few == "| 100 | 0.15 s (0.20 s) | 1.00 | 0.35 s (0.40 s) | 75.0% |"


def test_wrong_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["review_page", "--few", "5", "--many", "5"])
    with pytest.raises(SystemExit, match="--many above --few"):
        review_page.main()
