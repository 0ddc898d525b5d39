"""Figures in documents are those of the committed results."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import write_tables

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/attacks.md",
        "docs/benchmark.md",
        "docs/fleet.md",
        "docs/from-clean-images.md",
        "docs/kserve.md",
        "docs/malware-and-texts.md",
        "docs/methods.md",
        "docs/onnx.md",
        "docs/operations.md",
        "docs/pools.md",
        "docs/refining.md",
        "docs/scan.md",
        "docs/screen.md",
        "docs/searches.md",
    ],
)
def test_documents_show_the_committed_results(name):
    text = (ROOT / name).read_text()
    assert "<!-- begin " in text
    assert write_tables.with_tables(text) == text


@pytest.mark.parametrize("path", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=str)
def test_files_that_documents_name_are_there(path):
    text = path.read_text()
    named = set(
        re.findall(r"`((?:handler|directions|tests|benchmarks|docs|scripts)/[^`*\s]+)`", text)
    )
    linked = set(re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text))
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [name for name in linked if not (path.parent / name).exists()]
    assert missing == []


def test_a_section_is_replaced_and_nothing_else():
    text = "a\n<!-- begin t -->\nold\n<!-- end t -->\nb\n"
    assert (
        write_tables.replace_section(text, "t", "new\n")
        == "a\n<!-- begin t -->\nnew\n<!-- end t -->\nb\n"
    )


def test_every_cost_that_the_table_names_was_measured():
    costs = json.loads(write_tables.COST.read_text())
    _, _, *rows = write_tables.cost_table(costs).splitlines()
    columns = zip(*(row.strip("|").split("|") for row in rows), strict=True)
    assert all(any(cell.strip() for cell in column) for column in columns)


def test_a_cost_above_its_bar_is_bold():
    measured = {"statistics_to_forward": 1.501, "memory_many_to_few": 1.1, "build_to_forward": 50}
    measured["repaired_to_plain"] = {"clean 1": 1.03, "clean 32": 1.01}
    *_, row = write_tables.cost_table([{"victim": "v", **measured}]).splitlines()
    assert row == "| v | **1.50** | 1.10 |  | 50 |  | **1.03** / 1.01 |  |  |"
