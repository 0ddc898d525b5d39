"""A folder is there whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchserve_fire_build.backdoorbench.new_folder import new_folder
from torchserve_fire_build.common.errors import AttackResultError, OutputError


def test_it_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a").is_file()
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "a").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not [*tmp_path.iterdir()]


def test_errors_name_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    with (
        pytest.raises(AttackResultError, match="^" + str(tmp_path / "out" / "a") + ": wrong$"),
        new_folder(tmp_path / "out") as folder,
    ):
        raise AttackResultError(f"{folder / 'a'}: wrong")
    with (
        pytest.raises(OutputError, match="out: cannot be written: No space left"),
        new_folder(tmp_path / "out"),
    ):
        raise OSError(28, "No space left")
    assert not [*tmp_path.iterdir()]


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists already"), new_folder(tmp_path / "out"):
        pytest.fail("not reached")
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]
