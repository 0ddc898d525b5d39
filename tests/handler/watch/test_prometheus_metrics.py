"""Counts of a served model, as a registry of `prometheus_client` shows them."""

import pytest
from prometheus_client import CollectorRegistry

from tests.handler.archive import grey
from tests.handler.core.several_bundles import several_bundles
from tests.handler.core.unpacked import make_unpacked
from torchserve_fire.core.open_model import open_model
from torchserve_fire.errors import SwapError
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.watch.metrics import LABELS
from torchserve_fire.watch.prometheus_metrics import HELP, prometheus_metrics


def test_what_was_counted_is_shown_by_model_and_bundle(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    make_unpacked(folder)
    files = several_bundles(tmp_path / "bundles", folder / "w.pth")
    registry = CollectorRegistry()
    # Each call of the same registry counts there.
    first = open_model(folder, name="a", metrics=prometheus_metrics(registry))
    second = open_model(folder, name="b", metrics=prometheus_metrics(registry))
    with first, second:
        first.answer([grey(255), grey(0), b"no image"])
        second.answer([grey(0)])
        old = first.bundle.digest
        (reason,) = first.describe()["counts"]["bad_inputs"]
        first.swap(files["weak"])
        first.answer([grey(255), grey(255)])
        with pytest.raises(SwapError):
            first.swap(tmp_path / "nothing.safetensors")
    new = load_bundle(files["weak"]).digest

    def value(name, model, bundle, **labels):
        common = {"ModelName": model, "ModelVersion": "1.0", "Bundle": bundle}
        return registry.get_sample_value(name, common | labels)

    assert value("FireRequestsJudged", "a", old) == 2
    assert value("FireRequestsFlagged", "a", old) == 1
    assert value("FireBadInputs", "a", old, Reason=reason) == 1
    assert value("FireRequestsJudged", "a", new) == 2
    assert value("FireRequestsJudged", "b", old) == 1
    assert value("FireRequestsFlagged", "b", old) == 0
    assert value("FireBundleSwaps", "a", new) == 1
    assert value("FireBundleSwapsRefused", "a", new) == 1
    assert value("FireDetectorScore", "a", new, Target="0", le="+Inf") == 2


def test_each_metric_says_what_it_is():
    assert set(HELP) == set(LABELS)
