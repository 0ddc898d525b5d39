from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.client.swap_lock import swap_lock


def hold(store: Path, held: Any) -> None:
    with swap_lock(store, "net"):
        held.set()
        multiprocessing.Event().wait()


def test_who_comes_second_is_told_until_the_first_has_ended(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    held = fork.Event()
    process = fork.Process(target=hold, args=(tmp_path, held))
    process.start()
    try:
        assert held.wait(60)
        with (
            pytest.raises(FireError, match="another swap of this model is under way"),
            swap_lock(tmp_path, "net"),
        ):
            pass
        with swap_lock(tmp_path, "other"):
            pass
    finally:
        process.kill()
        process.join()
    # What the killed one left holds nobody up.
    assert [path.name for path in tmp_path.iterdir()] == [".net.swap.lock"]
    with swap_lock(tmp_path, "net"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_let_go_of_where_the_swap_fails(tmp_path: Path) -> None:
    for _ in range(2):
        with contextlib.suppress(KeyError), swap_lock(tmp_path, "net"):
            raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_one_before_has_removed_is_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[bool] = []

    def flock(handle: int, operation: int) -> None:
        if not removed:
            removed.append(True)
            (tmp_path / ".net.swap.lock").unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    with swap_lock(tmp_path, "net"):
        assert (tmp_path / ".net.swap.lock").exists()


def test_a_store_that_takes_no_file_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(FireError, match=r"\.net\.swap\.lock: cannot be written: No such file"),
        swap_lock(tmp_path / "missing", "net"),
    ):
        pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".net.swap.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FireError, match="cannot be written"), swap_lock(tmp_path, "net"):
        pass
    assert not (tmp_path / "elsewhere").exists()
