"""One replica, without Ray around it; tests/engines has it in a real Ray Serve."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import serve

from tests.handler.archive import IMAGE
from tests.handler.core.several_bundles import several_bundles
from tests.handler.core.unpacked import make_unpacked
from torchserve_fire.errors import ConfigError, FireError, ModelError, SwapError
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.serve.ray_serve import application
from torchserve_fire.serve.ray_serve.application import FireModel
from torchserve_fire.serve.ray_serve.arguments import Arguments


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    make_unpacked(folder)
    return folder


@pytest.fixture
def bundles(tmp_path: Path, archive: Path) -> dict[str, Path]:
    return several_bundles(tmp_path / "bundles", archive / "w.pth")


@pytest.fixture
def replica(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FireModel]:
    known = SimpleNamespace(replica_id=SimpleNamespace(unique_id="r1"))
    monkeypatch.setattr(serve, "get_replica_context", lambda: known)
    monkeypatch.setattr(application, "log_to_ray", lambda: None)
    model = FireModel(Arguments(str(archive)))
    yield model
    model.__del__()


def configure(replica: FireModel, user_config: Any) -> dict[str, Any]:
    asyncio.run(replica.reconfigure(user_config, rank=0))
    return asyncio.run(replica.describe())


def digest(file: Path) -> str:
    return load_bundle(file).digest


def test_a_bundle_and_back(replica: FireModel, bundles: dict[str, Path]) -> None:
    first = configure(replica, None)["bundle"]
    asked = {"bundle": str(bundles["strong"])}
    told = configure(replica, asked)
    assert told["bundle"] == digest(bundles["strong"]) != first
    assert told["user_config"] == {"asked": asked, "refused": None}
    assert told["replica"] == "r1"
    assert configure(replica, {})["bundle"] == first
    configure(replica, asked)
    assert configure(replica, None)["bundle"] == first


@pytest.mark.parametrize("wrong", ["none.safetensors", "cut.safetensors", 7])
def test_what_is_refused_leaves_the_old_one_serving_and_is_told(
    replica: FireModel, bundles: dict[str, Path], wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if wrong == "cut.safetensors":
        cut = bundles["weak"].with_name(wrong)
        cut.write_bytes(bundles["weak"].read_bytes()[:-1])
        wrong = str(cut)
    configure(replica, {"bundle": str(bundles["strong"])})
    told = configure(replica, {"bundle": wrong})
    assert told["bundle"] == digest(bundles["strong"])
    assert told["user_config"]["asked"] == {"bundle": wrong}
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert line.endswith(told["user_config"]["refused"])
    told = configure(replica, {"bundle": str(bundles["weak"])})
    assert told["bundle"] == digest(bundles["weak"])
    assert told["user_config"]["refused"] is None


def test_a_replica_does_not_start_with_what_is_refused(
    replica: FireModel, bundles: dict[str, Path]
) -> None:
    with pytest.raises(SwapError, match=r"none\.safetensors"):
        asyncio.run(replica.reconfigure({"bundle": "none.safetensors"}, rank=0))
    with pytest.raises(ConfigError, match="unknown field"):
        asyncio.run(replica.reconfigure({"bundel": str(bundles["weak"])}, rank=0))


def test_a_replica_that_cannot_repair_does_not_start_and_says_so_in_a_line(
    archive: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(application, "log_to_ray", lambda: None)
    (archive / BUNDLE_FILE).unlink()
    with pytest.raises(FireError, match=BUNDLE_FILE) as refused:
        FireModel(Arguments(str(archive)))
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert line == f"torchserve-fire does not serve {archive}: {refused.value}"


def test_a_folder_of_bundles_and_a_named_one_do_not_go_together(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SimpleNamespace(replica_id=SimpleNamespace(unique_id="r1"))
    monkeypatch.setattr(serve, "get_replica_context", lambda: known)
    monkeypatch.setattr(application, "log_to_ray", lambda: None)
    folder = tmp_path / "followed"
    folder.mkdir()
    followed = tmp_path / "other"
    followed.mkdir()
    make_unpacked(followed, IMAGE | {"bundle_folder": str(folder)})
    bundles = several_bundles(folder / "later", followed / "w.pth")
    model = FireModel(Arguments(str(followed)))
    try:
        bundles["strong"].rename(folder / "strong.safetensors")
        strong = digest(folder / "strong.safetensors")
        assert configure(model, None)["bundle"] == strong
        told = configure(model, {"bundle": str(bundles["weak"])})
        assert told["bundle"] == strong
        assert "takes its bundles from" in told["user_config"]["refused"]
    finally:
        model.__del__()


def test_health(replica: FireModel) -> None:
    asyncio.run(replica.check_health())
    replica.__del__()
    with pytest.raises(FireError, match="was closed"):
        asyncio.run(replica.check_health())


def test_a_model_that_hangs_is_not_healthy(replica: FireModel) -> None:
    goes_on = threading.Event()

    async def ask() -> None:
        replica._thread.submit(goes_on.wait)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(replica.check_health(), 0.05)
        goes_on.set()
        await replica.check_health()

    asyncio.run(ask())


def test_training_mode_is_not_healthy(replica: FireModel) -> None:
    replica._model._classifier.model.train()
    with pytest.raises(ModelError, match="training mode"):
        asyncio.run(replica.check_health())
