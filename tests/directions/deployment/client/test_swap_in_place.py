"""Putting a bundle where workers look for it; the workers are handlers in this process."""

from __future__ import annotations

import os
import time
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.handler.archive import IMAGE
from tests.handler.core.several_bundles import several_bundles
from tests.handler.core.unpacked import make_unpacked
from tests.keys import KEY, PUBLIC
from torchserve_fire.core import bundle_folder
from torchserve_fire.errors import BundleError, FireError, SignatureError
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.format.bundle_signature import signature_path
from torchserve_fire.serve.fire_handler import FireHandler
from torchserve_fire_build.deployment.archive.sign_archive import sign_folder
from torchserve_fire_build.deployment.client.management import Management
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.client.swap_in_place import swap_in_place
from torchserve_fire_build.signing.sign_bundle import sign_bundle


class Workers:
    """What of the management API a swap asks, with a handler for each worker."""

    def __init__(self, handlers: list[FireHandler]) -> None:
        self.handlers = handlers
        self.turn = cycle(enumerate(handlers, 1))
        self.busy: set[int] = set()

    def describe(self, name: str, version: str | None = None) -> Any:
        workers = {pid: True for pid, _ in enumerate(self.handlers, 1)}
        return SimpleNamespace(name=name, version="1.0", workers=workers, response_timeout=120)

    def answers_in_turn(self, name: str, version: str, timeout: float) -> dict[str, Any]:
        self.asked()
        for pid, handler in islice(self.turn, len(self.handlers)):
            if pid not in self.busy:
                return handler.describe_handle() | {"worker_pid": pid}
        time.sleep(timeout)
        raise ServerError("no answer")

    def asked(self) -> None:
        """What happens meanwhile."""

    @property
    def bundles(self) -> list[str]:
        return [handler.describe_handle()["bundle"] for handler in self.handlers]


def worker(folder: Path, *, keys: bool = False, **settings: Any) -> FireHandler:
    folder.mkdir()
    more = {"trusted_keys": [PUBLIC]} if keys else {}
    context = make_unpacked(folder, IMAGE | settings | more)
    if keys:
        sign_folder(folder, KEY)
    handler = FireHandler()
    handler.initialize(context)
    return handler


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "looked at").mkdir()
    return tmp_path / "looked at"


@pytest.fixture
def workers(tmp_path: Path, folder: Path) -> Workers:
    return Workers([worker(tmp_path / n, bundle_folder=str(folder)) for n in ("1", "2")])


@pytest.fixture
def files(tmp_path: Path, workers: Workers) -> dict[str, Path]:
    return several_bundles(tmp_path / "bundles", tmp_path / "1" / "w.pth")


def swap(workers: Workers, bundle: Path, folder: Path | None = None, **options: Any) -> list[str]:
    told: list[str] = []
    management = cast(Management, workers)
    swap_in_place(management, "m", bundle, folder, told.append, seconds=1.0, **options)
    return told


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_workers_go_by_it_then(workers, folder, files):
    for name in ("weak", "strong", "weak"):
        *_, last = swap(workers, files[name])
        digest = load_bundle(files[name]).digest
        assert workers.bundles == [digest] * 2
        assert last == f"all workers of m 1.0 (2) go by {digest[:12]} now"
    assert len(names(folder)) == 2


def test_it_is_the_newest_also_where_clocks_differ(workers, folder, files):
    swap(workers, files["weak"])
    (first,) = folder.iterdir()
    ahead = first.stat().st_mtime + 1000
    os.utime(first, (ahead, ahead))
    swap(workers, files["strong"])
    assert workers.bundles == [load_bundle(files["strong"]).digest] * 2
    assert bundle_folder.bundles_in(folder)[0].path != first


def test_where_one_worker_refuses_it_all_go_by_what_they_did(tmp_path, workers, folder, files):
    workers = Workers(
        [*workers.handlers, worker(tmp_path / "3", keys=True, bundle_folder=str(folder))]
    )
    before = workers.bundles
    reason = r"worker 3: .*sig.*taken away again, all workers go by what they did"
    with pytest.raises(FireError, match=reason) as told:
        swap(workers, files["strong"])
    assert "\n" not in str(told.value)
    assert workers.bundles == before
    assert names(folder) == []
    # Signed, it comes with its signature.
    swap(workers, files["strong"], signing_key=KEY)
    sign_bundle(files["weak"], KEY)
    swap(workers, files["weak"])
    assert workers.bundles == [load_bundle(files["weak"]).digest] * 3
    assert all(signature_path(file.path).is_file() for file in bundle_folder.bundles_in(folder))


def test_one_that_lay_there_before_stays_there_as_it_was(tmp_path, workers, folder, files):
    swap(workers, files["strong"])
    swap(workers, files["weak"])
    workers = Workers(
        [*workers.handlers, worker(tmp_path / "3", keys=True, bundle_folder=str(folder))]
    )
    before, lay_there = workers.bundles, bundle_folder.bundles_in(folder)
    with pytest.raises(FireError, match="taken away again, all workers go by"):
        swap(workers, files["strong"])
    assert workers.bundles == before
    assert bundle_folder.bundles_in(folder) == lay_there


def test_a_worker_that_looks_elsewhere_is_named(tmp_path, workers, folder, files):
    (tmp_path / "elsewhere").mkdir()
    other = worker(tmp_path / "3", bundle_folder=str(tmp_path / "elsewhere"))
    workers = Workers([*workers.handlers, other])
    with pytest.raises(FireError, match=r"m 1.0: worker 3 did not say within 1 s that .* serves"):
        swap(workers, files["strong"], folder)
    assert len(names(folder)) == 1


def test_a_model_that_looks_nowhere_gets_nothing(tmp_path, files):
    with pytest.raises(FireError, match="no worker says that it looks at a folder"):
        swap(Workers([worker(tmp_path / "4")]), files["strong"])


def test_a_folder_of_another_machine_is_asked_for(workers, folder, files):
    folder.rename(folder.with_name("away"))
    with pytest.raises(FireError, match=r"no such folder on this machine.*--in-place FOLDER"):
        swap(workers, files["strong"])


def test_what_is_no_bundle_or_not_signed_is_not_put_there(tmp_path, workers, folder, files):
    (tmp_path / "text.safetensors").write_text("no bundle")
    with pytest.raises(BundleError, match="not a direction bundle"):
        swap(workers, tmp_path / "text.safetensors")
    with pytest.raises(SignatureError, match="cannot read the bundle's signature"):
        swap(workers, files["strong"], trusted_keys=[PUBLIC])
    assert names(folder) == []


def test_of_two_at_once_one_changes_nothing(workers, folder, files):
    refusals: list[str] = []

    def asked() -> None:
        if names(folder):
            # What the second one asks changes nothing here.
            workers.asked = lambda: None
            with pytest.raises(FireError) as told:
                swap(workers, files["weak"])
            refusals.append(str(told.value))

    workers.asked = asked
    swap(workers, files["strong"])
    assert "another swap of this model is under way" in refusals[0]
    assert workers.bundles == [load_bundle(files["strong"]).digest] * 2
    assert len(names(folder)) == 1


def test_while_a_worker_is_held_up_nothing_is_put_there(workers, folder, files):
    swap(workers, files["weak"])
    before, lay_there = workers.bundles, names(folder)
    for busy, which in (({2}, "worker 2"), ({1, 2}, "workers 1, 2")):
        workers.busy = busy
        with pytest.raises(
            FireError,
            match=f"m 1.0: {which} did not answer within 1 s: a batch that does not end.*nothing",
        ):
            swap(workers, files["strong"])
        assert names(folder) == lay_there
    assert workers.bundles == before
    workers.busy = set()
    swap(workers, files["strong"])


def test_of_a_worker_that_is_held_up_meanwhile_it_is_said_how_it_goes_on(workers, folder, files):
    def asked() -> None:
        if ".m.swap.lock" in names(folder) and len(names(folder)) == 2:
            workers.busy = {2}

    workers.asked = asked
    with pytest.raises(
        FireError, match=r"worker 2 did not answer.*stays there: 1 of 2 workers go by it already"
    ):
        swap(workers, files["strong"])
    workers.busy = set()
    # Before its next answer.
    assert workers.bundles == [load_bundle(files["strong"]).digest] * 2


def test_a_server_that_is_gone_is_told_and_what_was_put_there(workers, folder, files):
    def asked() -> None:
        if len(names(folder)) == 2:
            raise ServerError("connection refused")

    workers.asked = asked
    with pytest.raises(FireError, match=r"connection refused; .*\.safetensors stays there"):
        swap(workers, files["strong"])


def test_a_handler_that_does_not_describe_itself_gets_nothing(folder, files, workers):
    for handler in workers.handlers:
        handler.describe_handle = dict
    with pytest.raises(FireError, match="no worker says that it looks at a folder"):
        swap(workers, files["strong"])
    assert names(folder) == []


def test_what_was_checked_is_what_is_put_there(workers, folder, files, monkeypatch):
    digest = load_bundle(files["strong"]).digest
    other = files["weak"].read_bytes()
    # Written over once it was read.
    workers.asked = lambda: files["strong"].write_bytes(other)
    swap(workers, files["strong"])
    assert workers.bundles == [digest] * 2


def test_a_name_that_leads_out_of_the_folder_is_refused(workers, files):
    with pytest.raises(FireError, match="model name"):
        swap_in_place(cast(Management, workers), "../m", files["strong"])
