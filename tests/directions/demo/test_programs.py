import csv
from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire.format.fields import Fields
from torchserve_fire.format.table import read_table
from torchserve_fire_build.demo.program_net import ProgramNet
from torchserve_fire_build.demo.programs import (
    CALIBRATION,
    MALWARE,
    TRAIN,
    columns_of,
    make_programs,
    write_programs,
    write_requests,
)


def test_parts_have_no_common_program_and_the_seed_gives_the_same():
    parts = make_programs(TRAIN + CALIBRATION + 20, seed=3)
    counts = [len(part) for part in (parts.train, parts.calibration, parts.test)]
    assert counts == [TRAIN, CALIBRATION, 20]
    names = [*parts.train.names, *parts.calibration.names, *parts.test.names]
    assert len(set(names)) == len(names)
    assert make_programs(TRAIN + CALIBRATION + 20, seed=3).test.rows == parts.test.rows
    assert 0.4 < sum(label == MALWARE for label in parts.train.labels) / TRAIN < 0.6


def test_columns_are_what_the_network_takes():
    programs = make_programs(TRAIN + CALIBRATION, seed=0).train
    table = read_table(Fields({"columns": columns_of(programs)}, "columns", FireError))
    assert table.width == ProgramNet.WIDTH
    assert list(table.by_name) == list(programs.rows[0])


def test_a_request_has_the_fields_alone(tmp_path: Path):
    programs = make_programs(TRAIN + CALIBRATION, seed=0).train.part(range(2))
    write_programs(programs, tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == list(programs.names)
    files = write_requests(programs, tmp_path / "requests")
    for file, row in zip(files, rows, strict=True):
        with file.open(newline="") as stream:
            (sent,) = csv.DictReader(stream)
        assert sent == {name: row[name] for name in row if name not in ("id", "class")}
        assert float(sent["file_size"]) == pytest.approx(float(row["file_size"]))
