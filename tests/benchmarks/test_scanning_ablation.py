import pytest

from benchmarks.scanning_ablation import counts_of, scanning_ablation_table, without
from benchmarks.scanning_fit import scan_of
from tests.benchmarks.test_little_evidence_tables import cells
from tests.benchmarks.test_scanning_fit import row
from torchserve_fire_build.scan.evidence import NAMES, evidence_of


@pytest.mark.parametrize("name", NAMES)
def test_without_a_search_its_numbers_are_0_and_the_others_stay(name):
    whole = row("v", [4], 0.9, 3.0)
    before, after = (evidence_of(scan_of(each)) for each in (whole, without(whole, name)))
    changed = [NAMES[i] for i in (before != after).any(0).nonzero().flatten().tolist()]
    assert changed == [name]
    assert not bool(after[:, NAMES.index(name)].any())
    assert whole == row("v", [4], 0.9, 3.0)


def verdict(targets, named, count=200):
    found = {"found": bool(named), "backdoored": targets != []}
    return {"targets": targets, "named": named, "count": count, **found}


VERDICTS = [
    verdict([4], [4]),
    verdict([4], [2, 4, 1]),
    verdict([0, 1], [1]),
    verdict([4], []),
    verdict(None, []),
    verdict([], []),
    verdict([], [3]),
    verdict([], [], 50),
]


def test_how_many_are_right():
    few, many = counts_of("generated", VERDICTS)
    assert few == {
        "without": "generated",
        "count": 50,
        "victims": 0,
        "first": 0,
        "further": 0,
        "benign": 1,
        "alarms": 0,
    }
    numbers = (many[name] for name in ("victims", "first", "further", "benign", "alarms"))
    assert tuple(numbers) == (4, 2, 2, 2, 1)


def test_the_table_has_a_line_for_each_search_where_there_are_victims():
    rows = [*counts_of(None, VERDICTS), *counts_of("generated", VERDICTS)]
    assert cells(scanning_ablation_table(rows))[2:] == [
        ["nothing", "2 of 4", "2", "1 of 2"],
        ["generated", "2 of 4", "2", "1 of 2"],
    ]
