"""What comes after an archive has become the default, and in which order."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.directions.deployment.client.test_rollout import OLD
from torchserve_fire_build.deployment.archive.any_archive import copy_as
from torchserve_fire_build.deployment.client import deploy as module
from torchserve_fire_build.deployment.client.deploy import deploy_archive
from torchserve_fire_build.deployment.client.management import Management
from torchserve_fire_build.deployment.client.rollout import Target
from torchserve_fire_build.deployment.client.server_errors import ServerError


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a deploy did; the server's part of it succeeds."""
    done: list[str] = []
    monkeypatch.setattr(module, "_answered", lambda *_: ([], []))
    monkeypatch.setattr(module, "without_flagged", lambda bodies, expected, _: (bodies, expected))
    monkeypatch.setattr(module, "put_into_service", lambda *_: done.append("default"))
    monkeypatch.setattr(module, "retire_replaced", lambda *_: done.append("drained"))
    return done


def server(store: Path, *, serves: bool, workers: int = 1) -> Target:
    """A server that has version 1.0 of "tiny", or gets its first version."""
    model = replace(OLD, name="tiny", archive="tiny-1.0.mar", min_workers=workers)
    asked = iter([serves])

    def describe(name: str, version: str | None = None) -> Any:
        if not next(asked, True):
            raise ServerError("no such model", 404)
        return model

    management = SimpleNamespace(
        describe=describe,
        describe_all=lambda name: [model] if serves else [],
        check_model_api=lambda: None,
        models=list,
    )
    return Target(cast(Management, management), "http://127.0.0.1:9", None, store)


def test_the_next_start_is_written_before_the_old_version_is_drained(
    store: Path, tmp_path: Path, happened: list[str]
) -> None:
    archive = tmp_path / "next.mar"
    copy_as(store / "tiny-1.0.mar", "2.0", archive)
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(store / "tiny-1.0.mar", folder)
    deploy_archive(
        server(folder, serves=True),
        "tiny",
        archive,
        "2.0",
        lambda _: None,
        on_default=lambda: happened.append("kept"),
    )
    assert happened == ["default", "kept", "drained"]


@pytest.mark.usefixtures("happened")
@pytest.mark.parametrize(("workers", "said"), [(1, "1 worker:"), (3, "3 workers:")])
def test_a_first_version_took_no_settings(
    store: Path, tmp_path: Path, workers: int, said: str
) -> None:
    lines: list[str] = []
    target = server(tmp_path, serves=False, workers=workers)
    deploy_archive(target, "tiny", store / "tiny-1.0.mar", report=lines.append)
    assert lines[-1] == f"registered with {said} nothing was served to take settings from"
