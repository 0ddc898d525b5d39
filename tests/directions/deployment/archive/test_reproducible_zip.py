from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.archive.reproducible_zip import write_reproducibly


def test_times_in_an_archive_are_those_of_source_date_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, target = tmp_path / "packed.zip", tmp_path / "target.mar"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("b", "2")
        archive.writestr("a", "1")
    write_reproducibly(packed, target)
    with zipfile.ZipFile(target) as archive:
        entries = [(e.filename, e.date_time) for e in archive.infolist()]
    assert entries == [("a", (1980, 1, 1, 0, 0, 0)), ("b", (1980, 1, 1, 0, 0, 0))]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    write_reproducibly(packed, target)
    with zipfile.ZipFile(target) as archive:
        assert archive.infolist()[0].date_time == (2023, 11, 14, 22, 13, 20)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(FireError, match="SOURCE_DATE_EPOCH"):
        write_reproducibly(packed, target)
    assert {path.name for path in tmp_path.iterdir()} == {"packed.zip", "target.mar"}
