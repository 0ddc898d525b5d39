"""Opening what somebody else may have put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchserve_fire.format.regular_file import open_regular


def test_a_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"abc"


def test_nothing_else_is_waited_for_or_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "link", "device"):
        with pytest.raises(OSError, match="no regular file"), open_regular(tmp_path / name):
            pass
    with pytest.raises(IsADirectoryError), open_regular(tmp_path):
        pass
