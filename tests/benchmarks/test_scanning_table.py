from benchmarks.scanning_table import (
    reliability_table,
    roc_table,
    scanning_growth_table,
    scanning_summary,
    scanning_table,
    unseen_table,
)
from tests.benchmarks.test_scanning_fit import row as scan_row


def row(victim, targets, named, probability, *, found=None, count=200, backdoored=True, others=()):
    return {
        "victim": victim,
        "backdoored": backdoored,
        "targets": targets,
        "classes": 10,
        "count": count,
        "cpu_seconds": 30.0,
        "found": bool(named) if found is None else found,
        "named": named,
        "probability": probability,
        "of_classes": {**{str(named[0]): probability for _ in named[:1]}, **dict(others)},
    }


ROWS = [
    row("a/benign", [], [], 0.1, backdoored=False),
    row("a/benign", [], [3], 0.96, count=50, backdoored=False),
    {**row("a/sure", [0], [0], 0.999), "cpu_seconds": 41.0},
    row("a/wrong", [0], [2, 0], 0.93),
    {**row("a/unsure", [0], [], 0.7), "found": None},
    row("a/all", None, [], 0.97, found=True),
]


def cells(table):
    lines = table.splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_model_has_a_row_with_a_column_for_each_number_of_images():
    found = cells(scanning_table(ROWS))
    assert found == [
        ["a/all", "10", "each another", "", "each another (0.97)", "30"],
        ["a/sure", "10", "0", "", "0 (1.00)", "41"],
        ["a/unsure", "10", "0", "", "unsure (0.70)", "30"],
        ["a/wrong", "10", "0", "", "2, 0 (0.93)", "30"],
        ["a/benign", "10", "none", "3 (0.96)", "none (0.10)", "30"],
    ]


def test_what_is_right_is_counted_by_the_number_of_images():
    assert cells(scanning_summary(ROWS)) == [
        ["50", "1 (1)", "1", "0", "0 (0)", "0", "0", "0", "0 (0)", "0"],
        ["200", "1 (1)", "0", "0", "3 (3)", "2", "1", "1", "1 (1)", "1"],
    ]


def test_alarms_and_finds_by_the_probability():
    found = {line[0]: line[1:] for line in cells(roc_table(ROWS))}
    assert found["0.50"] == ["1 of 2 (50%)", "3 of 3 (100%)"]
    assert found["0.95"] == ["1 of 2 (50%)", "1 of 3 (33%)"]
    assert found["0.99"] == ["0 of 2 (0%)", "1 of 3 (33%)"]


def test_classes_of_a_probability_are_targets_as_often():
    rows = [
        row("a/one", [0], [0], 0.96, others={"5": 0.06}.items()),
        row("a/two", [1], [2], 0.98, others={"1": 0.1, "3": 0.02}.items()),
        row("a/benign", [], [], 0.3, backdoored=False, others={"7": 0.3}.items()),
        # Of these no class is the target.
        row("a/all", None, [4], 0.97, found=True),
    ]
    assert cells(reliability_table(rows)) == [
        ["0.05 to 0.20", "2", "0.08", "1 (0.50)"],
        ["0.20 to 0.50", "1", "0.30", "0 (0.00)"],
        ["0.90 to 0.99", "2", "0.97", "1 (0.50)"],
    ]


def test_growth_is_told_as_multiples_of_the_fewest_classes():
    rows = [{"classes": 10, "cpu_seconds": 20.0}, {"classes": 43, "cpu_seconds": 30.0}]
    assert cells(scanning_growth_table(rows)) == [["10", "20", "1.00"], ["43", "30", "1.50"]]


def test_unseen_victims_are_judged_by_the_shipped_fit():
    sure, nothing = scan_row("d/sure", [4], 1.0, 9.0), scan_row("d/hidden", [4], 0.0, 0.0)
    first, second = cells(unseen_table([sure, nothing]))
    assert first == ["d/sure", "4", "200", "4 (1.00)", "1"]
    assert second[:3] == ["d/hidden", "4", "200"]
    assert second[3].startswith("none (0.")
