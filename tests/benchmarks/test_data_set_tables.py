import pytest

from benchmarks.data_set_tables import as_it_comes_table, data_set_table, interval
from benchmarks.victim_tables import BARS
from benchmarks.victims.data_sets import DATA_SETS
from tests.benchmarks.test_little_evidence_tables import cells
from tests.benchmarks.test_victim_tables import BASELINE, result


def test_the_mean_of_the_victims_and_how_many_are_within_the_bar():
    # Ratios .95 and, of one above 1, 1.
    of_first = [result(0.38), result(0.44)]
    of_second = [result(0.4, "unpaired 20"), result(0.4, "unpaired 20")]
    header, _, *rows = cells(data_set_table({"signs": of_first, "digits": of_second}))
    assert len(header) == 7
    first, second = rows
    assert first[:3] == ["signs", "paired 200", "2"]
    assert first[3].startswith("0.975 (0.950 to 1.000)")
    assert first[4] == "-0.10 (-0.10 to -0.10)"
    assert first[5] == "+0.5 (+0.5 to +0.5)"
    assert second[:4] == ["digits", "unpaired 20", "2", "1.000 (1.000 to 1.000)"]
    met = BARS["paired 200"].ratio
    assert met > 0.95
    assert second[6] == "2 of 2"


def test_an_interval_holds_the_mean_and_narrows_with_more_values():
    few, many = [0.0, 1.0] * 4, [0.0, 1.0] * 64
    assert interval(few) == interval(few)
    for values in (few, many):
        low, high = interval(values)
        assert low < 0.5 < high
    assert interval(many)[1] < interval(few)[1]
    assert interval([0.25]) == (0.25, 0.25)


@pytest.mark.parametrize("name", DATA_SETS)
def test_names_of_victims_are_unique(name):
    names = [recipe.name for recipe in DATA_SETS[name].victims]
    assert len(set(names)) == len(names) > 0


def test_flaws_of_the_evidence():
    figures = result(0.38)["runs"][0]["figures"]
    row = {"victim": "v", "baseline": BASELINE, "flaw": "few"}
    rows = [{**row, "figures": figures}, {**row, "refused": "no"}, {**row, "flaw": "none"}]
    _, _, few, none = cells(as_it_comes_table(rows))
    # What was refused is as it was: nothing is recovered.
    assert few == ["few", "2 (1)", "0.475 (0.000)", "-0.05 (-0.10)", "+49.2 (+98.0)"]
    assert none[:2] == ["none", "1 (0)"]
