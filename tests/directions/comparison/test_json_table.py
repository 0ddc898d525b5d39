import json

import pytest

from tests.directions.comparison.made_summary import summary
from torchserve_fire_build.comparison.json_table import json_table


def test_the_file_holds_means_and_all_draws():
    values = json.loads(json_table(summary()))
    assert values["targets"] == [0]
    assert values["calibration"] == {
        "draws": 2,
        "seed": 7,
        "clean": 30,
        "triggered": 30,
        "drawn_from": {"clean": 40, "triggered": 40},
    }
    assert values["test"] == {"clean": 24, "triggered": 18, "held_out": False}
    assert (values["natural_rate"], values["ceiling"]) == (0, 1)
    ours, jpeg, blur = values["defences"]
    assert ours["recovered_accuracy"] == {
        "mean": 1,
        "interval": [pytest.approx(0.8241, abs=1e-4), 1],
    }
    assert ours["flagged"] == {"clean": 0, "triggered": 1}
    assert ours["remark"] is None
    assert jpeg["flagged"] == {"clean": None, "triggered": None}
    assert jpeg["draws"][0]["recovered_accuracy"] == 0.75
    assert jpeg["draws"][1] == {"failed": "50 % of it, broken"}
    assert blur == {
        "defence": "blur",
        "remark": "not applicable: no images",
        "draws": [{"not_applicable": "no images"}] * 2,
    }
