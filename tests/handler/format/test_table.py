"""The columns of a table in the settings, and in a bundle."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from tests.handler.archive import make_bundle
from tests.handler.tables import DESCRIBED, TABLE
from torchserve_fire.core.classify import read_sample
from torchserve_fire.errors import BundleError, ConfigError
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.format.table import CategoryColumn, NumberColumn, Table
from torchserve_fire.model.config import parse_config
from torchserve_fire.model.fit import matching_input


def columns(*given, **more):
    return {"handler": {"input": "table", "columns": list(given), **more}}


def test_each_kind_of_column():
    config = parse_config(
        columns(
            {"name": "a"},
            {"name": "b", "log": True, "mean": 1, "std": 2, "missing": 0},
            {"name": "c", "min": -1, "max": 3},
            {"name": "d", "values": ["x", 7], "unknown": "zeros", "missing": "x"},
            label_column="class",
            id_column="sha256",
        )
    )
    assert config.table == Table(
        (
            NumberColumn("a"),
            NumberColumn("b", True, 1.0, 2.0, 0.0),
            NumberColumn("c", False, -1.0, 4.0),
            CategoryColumn("d", ("x", "7"), "zeros", "x"),
        )
    )
    assert config.columns_beside == ("class", "sha256")
    assert config.describe_input().shape == (5,)
    # What a bundle stores is read as the settings are.
    again = parse_config(columns(*config.table.settings()))
    assert again.table == config.table


WRONG = {
    "none": (columns(), "expected a map for each column"),
    "no list": ({"handler": {"input": "table", "columns": {}}}, "expected a list of maps"),
    "no columns": ({"handler": {"input": "table"}}, "columns: missing"),
    "no name": (columns({"mean": 0, "std": 1}), r"columns\[0\]: name: missing"),
    "twice": (columns({"name": "a"}, {"name": "a"}), r"columns\[1\]: name: 'a', expected another"),
    "spaces": (columns({"name": " a"}), "without spaces"),
    "number": (columns({"name": 3}), "expected a text"),
    "mean alone": (columns({"name": "a", "mean": 1}), "std: missing"),
    "std of 0": (columns({"name": "a", "mean": 1, "std": 0}), "expected more than 0"),
    "std of nan": (columns({"name": "a", "mean": 1, "std": float("nan")}), "finite number"),
    "min alone": (columns({"name": "a", "min": 1}), "max: missing"),
    "max below": (columns({"name": "a", "min": 1, "max": 1}), "expected more than min"),
    "both": (columns({"name": "a", "mean": 0, "std": 1, "min": 0, "max": 1}), "min: unknown field"),
    "log": (columns({"name": "a", "log": "yes"}), "true or false"),
    "log of missing": (columns({"name": "a", "log": True, "missing": -1}), "more than -1"),
    "missing": (columns({"name": "a", "missing": "x"}), "expected a finite number"),
    "unknown": (columns({"name": "a", "scale": 1}), "scale: unknown field"),
    "no values": (columns({"name": "a", "values": []}), "a list of texts or integers"),
    "values": (columns({"name": "a", "values": [True, False]}), "in quotes"),
    "fraction": (columns({"name": "a", "values": [1.5]}), "a list of texts or integers"),
    "value twice": (columns({"name": "a", "values": ["1", 1]}), "each value once"),
    "other missing": (columns({"name": "a", "values": ["x"], "missing": "y"}), "one of the column"),
    "unknown what": (columns({"name": "a", "values": ["x"], "unknown": "drop"}), "refuse, zeros"),
    "mean of words": (columns({"name": "a", "values": ["x"], "mean": 0}), "mean: unknown field"),
    "label": (columns({"name": "a"}, label_column="a"), "a column of its own"),
    "same beside": (columns({"name": "a"}, label_column="b", id_column="b"), "of its own"),
    "of images": (columns({"name": "a"}, image_size=[8, 8]), "image_size: unknown field"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_settings_are_refused_by_name(name):
    values, says = WRONG[name]
    with pytest.raises(ConfigError, match=says):
        parse_config(values)


def bundle_for_rows(folder):
    (folder / "w.pth").write_bytes(b"weights")
    return replace(make_bundle(folder / "w.pth", "tensor"), input=DESCRIBED)


def test_a_bundle_keeps_the_columns(tmp_path):
    save_bundle(bundle_for_rows(tmp_path), tmp_path / "b.safetensors")
    assert load_bundle(tmp_path / "b.safetensors").input == DESCRIBED


def test_a_bundle_of_another_width_is_refused(tmp_path):
    bundle = bundle_for_rows(tmp_path)
    wrong = replace(bundle, input=replace(DESCRIBED, shape=(11,)))
    with pytest.raises(BundleError, match=r"expected \(12,\), which is what the columns give"):
        save_bundle(wrong, tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"columns": TABLE["columns"][:-1]}, r"columns\[9\]: none, .* built for .*n8"),
        ({"columns": [{"name": "size"}, *TABLE["columns"][1:]]}, r"columns\[0\]: .*size"),
        ({"columns": [*TABLE["columns"], {"name": "n9"}]}, r"columns\[10\]: .*n9.* built for none"),
    ],
)
def test_settings_that_differ_from_the_bundles_are_refused(tmp_path, changed, says):
    bundle = bundle_for_rows(tmp_path)
    assert matching_input(parse_config({"handler": TABLE}), bundle, "b") == DESCRIBED
    with pytest.raises(ConfigError, match=says):
        matching_input(parse_config({"handler": {**TABLE, **changed}}), bundle, "b")


def test_other_inputs_do_not_fit(tmp_path):
    bundle = bundle_for_rows(tmp_path)
    with pytest.raises(ConfigError, match="was built for table input"):
        matching_input(parse_config({"handler": {"input": "tensor"}}), bundle, "b")


def test_the_settings_and_the_requests_of_the_document():
    text = (Path(__file__).parents[3] / "docs" / "tables.md").read_text()
    (settings,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    config = parse_config(yaml.safe_load(settings))
    described = config.describe_input()
    (record,) = re.findall(r"-d '(\{.*\})'", text)
    (rows,) = re.findall(r"--data-binary \$'(.*)'", text)
    from_json = read_sample(record.encode(), described, config)
    from_csv = read_sample(rows.replace("\\n", "\n"), described, config)
    assert torch.equal(from_json, from_csv)
    expected = [19 / 40, (math.log(5121) - 11.7) / 2.1, 6.1, 0, 1, 0]
    torch.testing.assert_close(from_json, torch.tensor(expected))
