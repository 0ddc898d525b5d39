import json

import pytest

from benchmarks.kept import Kept, read_results


def test_what_other_victims_have_stays(tmp_path):
    file = tmp_path / "cost.json"
    kept = Kept(file)
    kept.replace("a", [{"victim": "a", "ratio": 1}])
    kept.replace("b", [{"victim": "b", "ratio": 2}, {"victim": "b", "ratio": 3}])
    again = Kept(file)
    again.replace("a", [{"victim": "a", "ratio": 4}])
    rows = json.loads(file.read_text())
    assert [(row["victim"], row["ratio"]) for row in rows] == [("b", 2), ("b", 3), ("a", 4)]


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    with pytest.raises(SystemExit, match="no folder"):
        Kept(tmp_path / "missing" / "cost.json")


def test_results_of_old_are_read_by_the_names_of_today(tmp_path):
    file = tmp_path / "pools.json"
    of_both = {"targets": {"0": {"tells": "late", "teller": "mean"}, "1": {"detects": "last"}}}
    file.write_text(json.dumps([{"victim": "tells", "bundle": of_both, "clean_pool_told": True}]))
    (row,) = read_results(file)
    targets = row["bundle"]["targets"]
    assert targets == {"0": {"detects": "late", "detector": "mean"}, "1": {"detects": "last"}}
    assert (row["victim"], row["nothing_in_clean_pool"]) == ("tells", True)
