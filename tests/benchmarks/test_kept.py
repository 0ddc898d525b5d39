import json

import pytest

from benchmarks.kept import Kept


def test_what_other_victims_have_stays(tmp_path):
    file = tmp_path / "cost.json"
    kept = Kept(file)
    kept.replace("a", [{"victim": "a", "ratio": 1}])
    kept.replace("b", [{"victim": "b", "ratio": 2}, {"victim": "b", "ratio": 3}])
    again = Kept(file)
    again.replace("a", [{"victim": "a", "ratio": 4}])
    rows = json.loads(file.read_text())
    assert [(row["victim"], row["ratio"]) for row in rows] == [("b", 2), ("b", 3), ("a", 4)]


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path):
    with pytest.raises(SystemExit, match="no folder"):
        Kept(tmp_path / "missing" / "cost.json")
