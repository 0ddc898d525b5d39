"""The metrics that TorchServe is told of: it drops those that its configuration does not declare.

What Prometheus reads of every server is asked in tests/engines/test_metrics.py.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from torchserve_fire.watch.metrics import LABELS
from torchserve_fire_build.deployment.server.properties import find_config


def test_all_that_is_told_is_declared() -> None:
    declared = yaml.safe_load((Path(find_config()).parent / "metrics.yaml").read_text())
    of_model = {
        metric["name"]: metric["dimensions"]
        for kind in declared["model_metrics"].values()
        for metric in kind
    }
    for name, labels in LABELS.items():
        # TorchServe drops a metric whose labels are in another order than it is told in.
        assert of_model[name] == ["ModelName", "ModelVersion", "Bundle", *labels, "Level"]
