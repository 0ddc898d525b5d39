from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.directions.deployment.archive.test_sign_archive import signed_archive
from tests.keys import OTHER_PUBLIC, PUBLIC
from torchserve_fire.errors import FireError, SignatureError
from torchserve_fire_build.deployment.archive.any_archive import copy_as
from torchserve_fire_build.deployment.server.models_to_load import (
    check_archives,
    check_models_to_load,
    newer_archives,
)


@pytest.fixture
def signed_store(tmp_path: Path) -> Path:
    store = tmp_path / "model_store"
    store.mkdir()
    shutil.move(signed_archive(tmp_path), store / "signed.mar")
    return store


def refused(store: Path, match: str, *models: str, **settings: str) -> None:
    with pytest.raises(SignatureError, match=match):
        check_models_to_load(store, models, settings, [PUBLIC])


def test_every_way_to_name_what_is_loaded_is_checked(signed_store: Path) -> None:
    (signed_store / ".gitkeep").touch()
    for model in ("signed.mar", "name=signed.mar", "all", "ALL"):
        check_models_to_load(signed_store, [model], {}, [OTHER_PUBLIC, PUBLIC])
        with pytest.raises(SignatureError, match="which is not trusted"):
            check_models_to_load(signed_store, [model], {}, [OTHER_PUBLIC])
    (signed_store / "more.mar").write_bytes(b"")
    refused(signed_store, r"more.mar: damaged", "ALL")
    refused(signed_store, r"more.mar: damaged", "signed.mar", "m=more.mar")
    (signed_store / "unpacked").mkdir()
    refused(signed_store, "unpacked: a folder", "m=unpacked")
    refused(signed_store, r"none.mar: cannot be read", "none.mar")


def test_what_is_to_be_loaded_is_there(tmp_path: Path) -> None:
    (tmp_path / "m.mar").touch()
    check_archives(tmp_path, ["m.mar", "name=m.mar", "all", "ALL"])
    with pytest.raises(FireError, match=r"^--models name=n\.mar: .* there are: m\.mar$"):
        check_archives(tmp_path, ["m.mar", "name=n.mar"])
    for i in range(11):
        (tmp_path / f"a{i:02}.mar").touch()
    with pytest.raises(FireError, match=r"there are: a00\.mar, .*, a09\.mar and 2 more$"):
        check_archives(tmp_path, ["n.mar"])
    with pytest.raises(FireError, match="expected the model store: make it first"):
        check_archives(tmp_path / "none", [])


def test_settings_that_load_other_archives_are_refused(signed_store: Path) -> None:
    refused(signed_store, "^model_snapshot={}", "signed.mar", model_snapshot="{}")
    refused(signed_store, "^enable_envvars_config=true", "signed.mar", enable_envvars_config="true")
    check_models_to_load(signed_store, ["ALL"], {"enable_envvars_config": "false"}, [PUBLIC])


def test_without_a_model_nothing_would_be_checked(signed_store: Path) -> None:
    refused(signed_store, "^--trusted-key: .*expected the archives to load", load_models="ALL")


def test_newer_versions_of_what_is_loaded_are_named(store: Path, tmp_path: Path) -> None:
    old = tmp_path / "first.mar"
    shutil.copy(store / "tiny-1.0.mar", old)
    copy_as(old, "1.10", tmp_path / "net-1.10.mar")
    copy_as(old, "1.2", tmp_path / "tiny-1.2.mar")
    (tmp_path / "tiny-9.mar").write_bytes(b"no archive")
    # By the name that it is served under, or was packed with.
    (line,) = newer_archives(tmp_path, ["net=first.mar"])
    assert line.endswith("version 1.0; the model store holds a newer one, too: net-1.10.mar")
    (line,) = newer_archives(tmp_path, ["tiny-1.2.mar"])
    assert line.endswith("version 1.2; the model store holds a newer one, too: net-1.10.mar")
    assert newer_archives(tmp_path, ["net=net-1.10.mar", "x=first.mar", "tiny-9.mar", "ALL"]) == []
