from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.directions.deployment.client.test_rollout import OLD
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.client import undeploy as module
from torchserve_fire_build.deployment.client.management import Management
from torchserve_fire_build.deployment.client.undeploy import undeploy


def version_of(**values: Any) -> Any:

    return replace(OLD, **values)


class Server:
    """Says what was asked of it; the first version is the default."""

    def __init__(self, *models: Any) -> None:
        self.models = list(models)
        self.gone: list[str] = []
        self.management = cast(
            Management,
            SimpleNamespace(
                describe=lambda name: self.models[0],
                describe_all=lambda name: self.models,
                unregister=lambda name, version: self.gone.append(version),
            ),
        )


def test_of_all_versions_the_default_one_goes_last() -> None:
    server = Server(version_of(version="1.0"), version_of(version="2.0"), version_of(version="3.0"))
    undeploy(server.management, "net", None, lambda _: None, every=True, now=True)
    assert server.gone == ["2.0", "3.0", "1.0"]


def test_a_version_that_stays_busy_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise FireError("net 1.0 is still busy")

    monkeypatch.setattr(module, "drain", busy)
    server = Server(version_of(version="1.0", workers={1: True}))
    with pytest.raises(FireError, match=r"still busy; net 1.0 is still registered: run the same"):
        undeploy(server.management, "net", None, lambda _: None, every=True)
    assert server.gone == []
    undeploy(server.management, "net", None, lambda _: None, every=True, now=True)
    assert server.gone == ["1.0"]


def test_nobody_waits_for_workers_that_cannot_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "drain", None)
    server = Server(version_of(version="1.0", workers={1: False}))
    undeploy(server.management, "net", None, lambda _: None, every=True)
    assert server.gone == ["1.0"]


@pytest.mark.parametrize("named", [None, "1.0"])
def test_the_only_version_stays_without_all(named: str | None) -> None:
    server = Server(version_of(version="1.0"))
    with pytest.raises(FireError, match=r"net 1.0 is the only version and answers all clients: --"):
        undeploy(server.management, "net", named, lambda _: None, now=True)
    assert server.gone == []
