import json

import pytest
from ts.model_loader import TsModelLoader

from tests.handler.archive import make_archive
from torchserve_fire.errors import ConfigError


@pytest.fixture
def archive(tmp_path, monkeypatch):
    context = make_archive(tmp_path)
    (tmp_path / "MAR-INF").mkdir()
    manifest = {**context.manifest, "model": {**context.manifest["model"], "handler": "net"}}
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    return tmp_path, context.metrics


def load(archive, envelope):
    folder, metrics = archive
    handler = "torchserve_fire.serve.fire_service"
    return TsModelLoader().load(
        "m", str(folder), handler, None, 1, envelope=envelope, metrics_cache=metrics
    )


def test_without_an_envelope_it_starts(archive):
    assert load(archive, None).context.model_name == "m"


@pytest.mark.parametrize("envelope", ["json", "kserve", "kservev2", "body"])
def test_an_envelope_is_refused_at_the_start(archive, envelope):
    with pytest.raises(ConfigError, match=rf"service_envelope={envelope} .*: remove it"):
        load(archive, envelope)
