import os
import stat
from pathlib import Path

import pytest

from torchserve_fire.format.write_file import check_writable, write_file, write_files
from torchserve_fire_build.common.errors import OutputError


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "figures.json"
    write_file(b"first", path)
    write_file(b"second", path)
    assert path.read_bytes() == b"second"
    assert names_in(tmp_path) == ["figures.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_nothing_is_written_by_the_check(tmp_path):
    check_writable(tmp_path / "new.json")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no/b.json", "no folder"),
        ("file/b.json", "no folder"),
        ("folder", "it is a folder"),
        ("x" * 300, "too long"),
        ("é" * 120, "too long"),
    ],
)
def test_where_nothing_can_be_written(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    for refuse in (check_writable, lambda path: write_file(b"data", path)):
        with pytest.raises(OutputError, match=reason) as caught:
            refuse(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def test_an_interruption_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "b.json"
    write_file(b"old", path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(b"new", path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["b.json"]


def test_a_link_to_a_folder_of_ones_own(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_file(b"data", tmp_path / "link" / "b.json")
    assert names_in(tmp_path / "real") == ["b.json"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_that_takes_no_files():
    for refuse in (check_writable, lambda path: write_file(b"data", path)):
        with pytest.raises(OutputError, match=r"/proc/b.json: cannot be written: /proc takes no f"):
            refuse(Path("/proc/b.json"))


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", denied)
    with pytest.raises(OutputError, match=r"b.json: .* takes no file \(Permission"):
        check_writable(tmp_path / "b.json")


def test_files_that_belong_together_change_together(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    write_files({first: b"1", second: b"2"})
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    with pytest.raises(OutputError, match="no folder"):
        write_files({first: b"new", tmp_path / "no" / "b": b"new"})
    assert first.read_bytes() == b"1"
    assert names_in(tmp_path) == ["a", "b"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_changes_none_of_them(tmp_path, monkeypatch):
    first, second, full = tmp_path / "a", tmp_path / "b", Path("/dev/full")
    write_files({first: b"1", second: b"2"})
    opened = iter([os.fdopen, lambda handle, mode: full.open(mode)])
    monkeypatch.setattr(os, "fdopen", lambda handle, mode: next(opened)(handle, mode))
    with pytest.raises(OutputError, match="b: cannot be written: No space"):
        write_files({first: b"new", second: b"new"})
    monkeypatch.undo()
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert names_in(tmp_path) == ["a", "b"]
