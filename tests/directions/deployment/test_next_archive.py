from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from directions.deployment.next_archive import check_packed_here, next_version
from handler.errors import FireError


@pytest.mark.parametrize(
    ("version", "following"),
    [("1.0", "1.1"), ("1.9", "1.10"), ("2", "3"), ("1.0-rc1", "1.0-rc2"), ("v3b", "v4b")],
)
def test_the_last_number_is_increased(version: str, following: str) -> None:
    assert next_version(version) == following


def test_a_version_without_a_number() -> None:
    with pytest.raises(FireError, match="give --version"):
        next_version("stable")


def test_only_archives_of_this_project(tmp_path: Path) -> None:
    path = tmp_path / "m-1.0.mar"
    with pytest.raises(FireError, match="cannot read"):
        check_packed_here(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(FireError, match="damaged"):
        check_packed_here(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    with pytest.raises(FireError, match="--bundle"):
        check_packed_here(path)
