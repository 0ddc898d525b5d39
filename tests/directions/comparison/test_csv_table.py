import csv
import io

import pytest

from tests.directions.comparison.made_summary import summary
from torchserve_fire_build.comparison.csv_table import csv_table


def test_a_line_for_each_defence_with_as_many_cells():
    lines = list(csv.reader(io.StringIO(csv_table(summary()))))
    assert {len(line) for line in lines} == {len(lines[0])}
    ours, jpeg, blur = (dict(zip(lines[0], line, strict=True)) for line in lines[1:])
    assert ours["defence"] == "ours"
    assert float(ours["recovered_accuracy_low"]) == pytest.approx(0.8241, abs=1e-4)
    assert float(ours["passes_triggered"]) == 2
    assert (ours["draws"], ours["remark"], ours["ceiling"]) == ("2", "", "1.0")
    assert jpeg["flagged_clean"] == ""
    assert jpeg["remark"] == "failed in 1 of 2 draws: 50 % of it, broken"
    assert (blur["recovered_accuracy"], blur["draws"]) == ("", "0")
