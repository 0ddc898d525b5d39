"""TorchServe without tokens of its own, as deploy/kubernetes has it.

Of TorchServe alone: no other server knows tokens.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.tiny import CLASSES, image
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

MODELS = ["tiny=tiny-1.0.mar"]


@pytest.mark.slow
def test_a_server_that_asks_for_no_tokens_becomes_ready(store: Path) -> None:
    settings = {"disable_token_authorization": "true"}
    with TorchServe(store, MODELS, settings=settings, free_ports=True) as server:
        url = f"{server.addresses.inference}/predictions/tiny"
        assert set(requests.post(url, image(1), timeout=60).json()) == set(CLASSES)
