import json

import pytest
import torch

from torchserve_fire_build.inspection.findings import Findings, Run
from torchserve_fire_build.inspection.inspection import Inspection


def indices(*values):
    return torch.tensor(values, dtype=torch.float64)


FOUND = Inspection("saliency", index=indices(0, 8, -1, 0, 3))
QUIET = Inspection("quiet", index=indices(0, 1, -1, 0, 1))
WHOLE = Inspection("whole", backdoored=True)
SILENT = Inspection("silent", notes=("needs maps",))


def verdict(*inspections):
    return Findings([Run(inspection, 1.26) for inspection in inspections])


@pytest.mark.parametrize(
    ("inspections", "found", "status"),
    [
        ([QUIET], False, 0),
        ([FOUND], True, 1),
        ([WHOLE], True, 1),
        ([SILENT], None, 2),
        ([QUIET, FOUND], True, 1),
        ([SILENT, QUIET], False, 0),
        ([SILENT, FOUND], True, 1),
    ],
)
def test_one_method_that_finds_something_is_enough(inspections, found, status):
    assert verdict(*inspections).found is found
    assert verdict(*inspections).status == status


def test_a_hint_decides_nothing():
    hint = Run(FOUND, 1.0, decides=False)
    assert Findings([hint]).found is None
    assert Findings([hint]).suspects == []
    assert Findings([hint]).table()[-1].startswith("could not tell: these methods give hints")
    for other, found in ((QUIET, False), (SILENT, None)):
        both = Findings([hint, Run(other, 1.0)])
        assert both.found is found
        assert both.suspects == []
        assert "found (a hint)" in both.table()[1]


def test_the_class_that_most_methods_name_comes_first():
    other = Inspection("other", index=indices(0, 0, 0, 1, 9))
    assert verdict(FOUND, other).suspects == [4, 1]
    assert verdict(WHOLE).suspects == []


def test_the_table():
    lines = verdict(FOUND, SILENT, QUIET).table()
    titles = ["method", "verdict", "class", "probability", "index", "by", "chance", "seconds"]
    assert lines[0].split() == titles
    cells = lines[1].split()
    assert cells[:6] == ["saliency", "found", "1,", "4", "-", "8.00"]
    assert cells[-1] == "1"
    assert "could not tell" in lines[2]
    assert lines[3].strip() == "needs maps"
    assert "nothing found" in lines[4]
    assert lines[5] == (
        "the model looks backdoored: class 1, class 4 (found by 1 of 2 methods that could tell)"
    )
    assert verdict(SILENT).table()[-1] == "could not tell whether the model is backdoored"
    assert verdict(QUIET).table()[-1].startswith("nothing found (0 of 1 methods")
    assert "which class is not known" in verdict(WHOLE).table()[-1]


def test_the_json():
    values = json.loads(json.dumps(verdict(FOUND, SILENT).to_json(), allow_nan=False))
    assert values["found"] is True
    assert values["suspects"] == [1, 4]
    first, second = values["methods"]
    chance = first.pop("by_chance")
    assert 0 < chance < 0.2
    assert first == {
        "method": "saliency",
        "decides": True,
        "found": True,
        "suspects": [1, 4],
        "probability": None,
        "probabilities": None,
        "index": [0, 8, -1, 0, 3],
        "threshold": 2,
        "seconds": 1.3,
        "triggers": [],
        "notes": [],
    }
    assert second["found"] is second["index"] is second["by_chance"] is second["threshold"] is None
    assert second["notes"] == ["needs maps"]


def test_a_probability_is_shown_and_names_the_classes():
    likely = Inspection(
        "scan",
        threshold=0.9,
        backdoored=True,
        probabilities=indices(0.2, 0.95, 0.98),
        probability=0.99,
    )
    found = verdict(likely)
    assert (found.status, found.suspects) == (1, [2, 1])
    assert found.table()[1].split()[:5] == ["scan", "found", "2,", "1", "99.0%"]
    (row,) = found.to_json()["methods"]
    assert (row["probability"], row["probabilities"]) == (0.99, [0.2, 0.95, 0.98])


def test_classes_are_called_by_their_names():
    found = Findings([Run(FOUND, 1.26)], lambda c: f"{c} cat")
    assert "1 cat" in found.table()[1]
    assert found.table()[-1].startswith("the model looks backdoored: class 1 cat, class 4 cat (")
