"""TorchServe's envelopes, which KServe's own runtime asks for by an environment variable.

Of TorchServe alone: no other server has envelopes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.tiny import CLASSES, image
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

VARIABLE = "TS_SERVICE_ENVELOPE"
MODELS = ["tiny=tiny-1.0.mar"]


@pytest.mark.parametrize("envelope", ["kserve", "kservev2"])
@pytest.mark.slow
def test_a_server_that_goes_by_the_variable_is_told_in_one_line(
    store: Path, monkeypatch: pytest.MonkeyPatch, envelope: str
) -> None:
    monkeypatch.setenv(VARIABLE, envelope)
    settings = {"enable_envvars_config": "true"}
    with pytest.raises(FireError, match=f"service_envelope={envelope} .*remove it") as told:
        TorchServe(store, MODELS, settings=settings, free_ports=True).__enter__()
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_with_this_projects_configuration_the_variable_changes_nothing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "kservev2")
    with TorchServe(store, MODELS, free_ports=True) as server:
        answer = requests.post(
            f"{server.addresses.inference}/predictions/tiny",
            image(1),
            headers={"Authorization": f"Bearer {server.tokens.inference}"},
            timeout=60,
        )
    assert set(answer.json()) == set(CLASSES)
    assert answer.headers["x-fire-repaired"] == "false"
