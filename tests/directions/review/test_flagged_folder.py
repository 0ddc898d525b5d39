"""Nothing but the regular files of a quarantine is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.review import flagged_folder
from torchserve_fire_build.review.flagged_folder import (
    NUMBERS,
    PICTURE,
    TEXT,
    kind_of,
    read_file,
    read_flagged,
)


def test_regular_files_are_listed_and_all_else_is_counted(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", ".part"):
        (tmp_path / name).touch()
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    (tmp_path / "link2.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    found = read_flagged(tmp_path)
    assert found.names == ("a.png", "b.png")
    assert found.in_words() == "passed over, and not opened: 1 folder, 2 links, 1 pipe"


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    with pytest.raises(SamplesError, match=r"quarantine of one model.*1 folder"):
        read_flagged(tmp_path)
    with pytest.raises(SamplesError, match="No such file"):
        read_flagged(tmp_path / "none")


def test_what_was_put_in_the_place_of_a_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"its own")
    assert read_file(tmp_path, "a.png") == b"its own"
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.png").symlink_to("/etc/passwd")
    with pytest.raises(SamplesError):
        read_file(tmp_path, "a.png")
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(SamplesError, match="no regular file"):
        read_file(tmp_path, "a.png")
    with pytest.raises(SamplesError, match="No such file"):
        read_file(tmp_path, "gone.png")


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flagged_folder, "MAX_BYTES", 3)
    (tmp_path / "a.png").write_bytes(b"1234")
    with pytest.raises(SamplesError, match="4 bytes, expected at most 3"):
        read_file(tmp_path, "a.png")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((f"a{suffix}", PICTURE) for suffix in (".png", ".JPG", ".bin", "")),
        *((f"a{suffix}", TEXT) for suffix in (".csv", ".json", ".TXT")),
        ("a.npz", NUMBERS),
    ],
)
def test_the_suffix_says_how_a_file_is_shown(name: str, kind: str) -> None:
    assert kind_of(name) == kind
