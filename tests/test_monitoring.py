"""The dashboard and the alert rules are PromQL. They ask for metrics and labels that there are."""

import json
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text

from torchserve_fire.watch.metrics import DRIFT, LABELS
from torchserve_fire.watch.prometheus_metrics import prometheus_metrics

FOLDER = Path(__file__).parents[1] / "docs" / "monitoring"
COMMON = {"ModelName", "ModelVersion", "Bundle", "Level", "Hostname"}


def of_dashboard():
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def of_alerts():
    (group,) = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule["expr"] for rule in group["rules"]]


def asked(expression):
    """Return the metrics and the labels that a PromQL expression asks for.

    Prometheus's grammar, with its types: a rate of what is no range is a ValueError.
    """
    metrics, labels = set(), set()

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            metrics.add(node.name)
            labels.update(matcher.name for matcher in node.matchers.matchers)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            labels.update(node.modifier.labels)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None:
            matching = node.modifier.matching
            labels.update(() if matching is None else matching.labels)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return metrics, labels


@pytest.mark.parametrize("expression", of_dashboard() + of_alerts())
def test_every_metric_and_label_is_told(expression):
    metrics, labels = asked(expression)
    assert metrics
    assert metrics <= set(LABELS)
    assert labels <= COMMON.union(*(LABELS[name] for name in metrics))


@pytest.fixture(scope="module")
def registry():
    """What a server of one's own shows, once everything was counted."""
    registry = CollectorRegistry()
    metrics = prometheus_metrics(registry)("net", "1.0", "abc")
    for name, labels in LABELS.items():
        if name == DRIFT:
            metrics.set(name, 1.5, *labels)
        else:
            metrics.add({(name, tuple(labels)): 2})
    return registry


@pytest.mark.parametrize("form", ["text/plain", "application/openmetrics-text; version=1.0.0"])
@pytest.mark.parametrize("expression", of_dashboard() + of_alerts())
def test_every_metric_and_label_is_told_without_torchserve(registry, expression, form):
    encode, content_type = choose_encoder(form)
    parse = open_metrics if "openmetrics" in content_type else prometheus_text
    samples = [s for family in parse(encode(registry).decode()) for s in family.samples]
    metrics, labels = asked(expression)
    found = {sample.name: set(sample.labels) for sample in samples}
    assert metrics <= set(found)
    assert labels <= set().union(*(found[name] for name in metrics))


def test_what_is_asked_is_read_from_all_of_an_expression():
    expression = 'sum by (A) (rate(M{B=~"x"}[5m])) > 0 and on (C) N'
    assert asked(expression) == ({"M", "N"}, {"A", "B", "C"})
    for wrong in ("sum by (A) (rate(M))", "sum by (A) (rate(M[5m])", "rate_of(M[5m])"):
        with pytest.raises(ValueError, match=r"matrix|parenthesis|unknown function"):
            asked(wrong)


def test_every_metric_is_shown():
    shown = set().union(*(asked(expression)[0] for expression in of_dashboard()))
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


def test_each_metric_of_ray_gets_its_name_back():
    (config,) = yaml.safe_load((FOLDER / "prometheus-ray.yaml").read_text())["scrape_configs"]
    rules = config["metric_relabel_configs"]
    assert {rule["regex"]: rule["replacement"] for rule in rules} == {
        f"ray_{name.lower()}": name for name in LABELS
    }
