"""What a swap refuses before it asks the server for anything but how things stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.keys import KEY, OTHER_KEY, PUBLIC
from tests.tiny import TinyFiles
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.archive.load_as_worker import Answer
from torchserve_fire_build.deployment.client.management import Management
from torchserve_fire_build.deployment.client.rollout import Target
from torchserve_fire_build.deployment.client.swap import swap_bundle
from torchserve_fire_build.signing.sign_bundle import sign_bundle


def target(store: Path, *more: str) -> Target:
    """A server that has version 1.0 of "tiny", and more."""
    versions = [
        SimpleNamespace(name="tiny", version=version, archive=f"tiny-{version}.mar")
        for version in ("1.0", *more)
    ]
    management = SimpleNamespace(
        describe=lambda name: versions[0],
        describe_all=lambda name: versions,
        check_model_api=lambda: None,
    )
    return Target(cast(Management, management), "http://127.0.0.1:9", None, store)


def test_a_store_that_takes_no_archive_is_told_before_the_work(
    store: Path, tiny: TinyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", denied)
    monkeypatch.setattr("torchserve_fire_build.deployment.client.swap.load_as_worker", None)
    with pytest.raises(FireError, match=r"tiny-1.1.mar: .* takes no file \(Perm"):
        swap_bundle(target(store), "tiny", tiny.other_bundle)


def test_where_a_version_exists_already_is_told(
    store: Path, tiny: TinyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "torchserve_fire_build.deployment.client.swap.load_as_worker",
        lambda folder, name, bodies, **_: [Answer(200, {}, None) for _ in bodies],
    )
    shutil.copy(store / "tiny-1.0.mar", tmp_path)
    with pytest.raises(FireError, match=r"^tiny 1.1: exists already, in the server$"):
        swap_bundle(target(tmp_path, "1.1"), "tiny", tiny.other_bundle, "1.1")
    there = tmp_path / "tiny-1.1.mar"
    there.write_bytes(b"somebody's")
    for more, where in (((), f"as {there}"), (("1.1",), f"as {there} and in the server")):
        with pytest.raises(FireError, match=f"exists already, {re.escape(where)}$"):
            swap_bundle(target(tmp_path, *more), "tiny", tiny.other_bundle, "1.1")


def test_further_versions_are_told(store: Path, tiny: TinyFiles) -> None:
    lines: list[str] = []
    assert swap_bundle(target(store, "7"), "tiny", tiny.bundle, report=lines.append) == "1.0"
    assert lines == [
        "tiny 1.0 serves with this bundle already",
        "tiny 7 is registered, too, for requests that name it",
    ]


def test_a_signed_model_is_not_swapped_without_a_key(
    store: Path,
    signed_archive: Path,
    tiny: TinyFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torchserve_fire_build.deployment.client.swap.load_as_worker", None)
    archive = Path(shutil.copy(signed_archive, tmp_path / "tiny-1.0.mar"))
    with pytest.raises(FireError, match="so the next version must be, too: give --sign"):
        swap_bundle(target(tmp_path), "tiny", tiny.other_bundle)
    with pytest.raises(FireError, match="which is not trusted"):
        swap_bundle(target(tmp_path), "tiny", tiny.other_bundle, signing_key=OTHER_KEY)
    shutil.copy(store / "tiny-1.0.mar", archive)
    with pytest.raises(FireError, match="the archive is not signed"):
        swap_bundle(target(tmp_path), "tiny", tiny.other_bundle, signing_key=KEY)
    assert list(tmp_path.iterdir()) == [archive]


def test_a_bundle_that_nobody_trusted_has_signed_is_not_swapped_in(
    store: Path, tiny: TinyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchserve_fire_build.deployment.client.swap.load_as_worker", None)
    bundle = Path(shutil.copy(tiny.other_bundle, tmp_path))
    with pytest.raises(FireError, match="cannot read the bundle's signature"):
        swap_bundle(target(store), "tiny", bundle, trusted_keys=[PUBLIC])
    sign_bundle(bundle, OTHER_KEY)
    with pytest.raises(FireError, match="which is not trusted"):
        swap_bundle(target(store), "tiny", bundle, trusted_keys=[PUBLIC])
