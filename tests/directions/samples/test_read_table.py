"""Rows of tables as samples: CSV, Parquet, folders; labels, names, and what is refused."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from tests.handler.tables import FLAGGED, GOOD, TABLE, csv_of
from torchserve_fire.core.classify import read_sample
from torchserve_fire.model.config import parse_config
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples

CONFIG = parse_config({"handler": TABLE})


def write(folder, rows, name="rows.csv"):
    file = folder / name
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_rows_are_prepared_as_requests_are(tmp_path):
    rows = [{**GOOD, "n1": 2.5, "kind": "y"}, {**FLAGGED, "size": 3, "kind": 2}]
    samples = open_samples(write(tmp_path, rows), TABLE)
    assert samples.description == CONFIG.describe_input()
    assert samples.labels is None
    assert samples.numbered
    for i, row in enumerate(rows):
        asked = read_sample(row, samples.description, CONFIG)
        assert torch.equal(samples[i], asked)
        # What it would be sent as is the same sample.
        assert samples.body(i).suffix == ".json"
        sent = json.loads(samples.body(i).content)
        assert torch.equal(read_sample(sent, samples.description, CONFIG), asked)


def test_labels_by_index_or_by_name(tmp_path):
    rows = [{**GOOD, "class": 1}, {**GOOD, "class": 0}]
    assert open_samples(write(tmp_path, rows), TABLE).labels.tolist() == [1, 0]
    rows[0]["class"] = "one"
    samples = open_samples(write(tmp_path, rows), TABLE)
    assert (samples.labels, samples.class_names) == (None, ["one", "0"])


def test_rows_of_the_same_name_are_pairs(tmp_path):
    names = ["c", "a", "b"]
    clean = [{"id": name, **GOOD, "n2": i} for i, name in enumerate(names)]
    triggered = [{"id": name, **FLAGGED, "n2": names.index(name)} for name in ("b", "c")]
    ours, theirs = (
        open_samples(write(tmp_path, rows, name), TABLE)
        for rows, name in ((clean, "clean.csv"), (triggered, "triggered.csv"))
    )
    assert list(gather_evidence(ours, theirs).partners) == [2, 0]
    triggered[0]["id"] = "other"
    theirs = open_samples(write(tmp_path, triggered, "triggered.csv"), TABLE)
    with pytest.raises(SamplesError, match=r"some have none \(other\)"):
        gather_evidence(ours, theirs)


def test_a_folder_of_rows_as_a_quarantine_is(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.csv").write_bytes(csv_of({**GOOD, "n1": i}))
    (tmp_path / ".half.csv.part").write_bytes(b"n1")
    samples = open_samples(tmp_path, TABLE)
    assert samples.load(range(3)).sum(1).tolist() == [1, 2, 3]
    assert samples.names == ["0.csv: line 2", "1.csv: line 2", "2.csv: line 2"]


def test_parquet_is_read_as_csv_is(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{**GOOD, "n1": 2.5, "kind": "y", "id": i, "class": 1} for i in range(3)]
    rows[1]["size"] = None
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    ours = open_samples(tmp_path / "rows.parquet", TABLE)
    rows[1]["size"] = ""
    theirs = open_samples(write(tmp_path, rows), TABLE)
    assert torch.equal(ours.load(range(3)), theirs.load(range(3)))
    assert ours.names == theirs.names == ["0", "1", "2"]
    assert ours.labels.tolist() == [1, 1, 1]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(SamplesError, match="not a readable Parquet file"):
        open_samples(tmp_path / "bad.parquet", TABLE)


def test_without_pyarrow_a_message_names_it(tmp_path, monkeypatch):
    (tmp_path / "rows.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SamplesError, match=r"rows.parquet: pyarrow is not installed: .* 'parquet'"):
        open_samples(tmp_path / "rows.parquet", TABLE)


HEADER = ",".join(GOOD)
LINE = ",".join(map(str, GOOD.values()))
BAD = {
    "nothing": ("", "expected rows below the header"),
    "no rows": (HEADER, "expected rows below the header"),
    "a word": (f"{HEADER}\n{LINE}\n{LINE[:-1]}abc", "line 3: n8: expected a number, found 'abc'"),
    "a category": (f"{HEADER}\n{LINE.replace('x', 'zebra')}", "found 'zebra'"),
    "a column": (f"{HEADER},other\n{LINE},1", "expected the 10 columns .* found 'other'"),
    "no column": (f"{HEADER[:-3]}\n{LINE[:-2]}", "line 2: n8: missing, expected a number"),
    "short": (f"{HEADER}\n{LINE[:-2]}", "line 2: 9 cells, expected 10"),
    "twice": (f"{HEADER},n1\n{LINE},1", "column 11 is called as column 3"),
    "too large": (f"{HEADER}\n{LINE[:-1]}1e300", "line 2: n8: .*float32 can hold, found 1e"),
    "some labels": (f"{HEADER},class\n{LINE},1\n{LINE},", "class: 1 of 2 rows have a class"),
    "some names": (f"{HEADER},id\n{LINE},a\n{LINE},", "id: 1 of 2 rows have one"),
    "same names": (f"{HEADER},id\n{LINE},a\n{LINE},a", "id: 'a' stands there twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_a_line(tmp_path, name):
    text, says = BAD[name]
    file = tmp_path / "rows.csv"
    file.write_text(text)
    with pytest.raises(SamplesError, match=says) as told:
        open_samples(file, TABLE)
    assert str(file) in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_no_table(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path, write(tmp_path, [GOOD], "rows.txt")):
        with pytest.raises(SamplesError, match=r"expected a \.csv or \.parquet file"):
            open_samples(path, TABLE)
    (tmp_path / "rows.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(SamplesError, match="expected text in UTF-8"):
        open_samples(tmp_path / "rows.csv", TABLE)


def test_the_message_says_how_labels_are_named(tmp_path):
    settings = {key: value for key, value in TABLE.items() if key != "label_column"}
    file = write(tmp_path, [{**GOOD, "class": 1}])
    with pytest.raises(SamplesError, match=r"found 'class'; .* label_column, id_column"):
        open_samples(file, settings)
