"""The dashboard and the alert rules ask for metrics and labels that are told."""

import json
import re
from pathlib import Path

import pytest
import yaml

from handler.metrics import LABELS

FOLDER = Path(__file__).parents[1] / "docs" / "monitoring"
COMMON = {"ModelName", "ModelVersion", "Bundle", "Level", "Hostname"}


def of_dashboard():
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def of_alerts():
    (group,) = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule["expr"] for rule in group["rules"]]


@pytest.mark.parametrize("expression", of_dashboard() + of_alerts())
def test_every_metric_and_label_is_told(expression):
    names = set(re.findall(r"Fire\w+", expression))
    assert names
    assert names <= set(LABELS)
    labels = COMMON.union(*(LABELS[name] for name in names))
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", grouped)) <= labels
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_shown():
    shown = set(re.findall(r"Fire\w+", " ".join(of_dashboard())))
    assert shown == set(LABELS)


def test_panels_do_not_overlap():
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
