"""Figures in documents are those of the committed results."""

from pathlib import Path

from benchmarks import write_tables

ROOT = Path(__file__).parent.parent


def test_the_readme_shows_the_committed_results():
    text = (ROOT / "README.md").read_text()
    assert write_tables.with_tables(text) == text


def test_a_section_is_replaced_and_nothing_else():
    text = "a\n<!-- begin t -->\nold\n<!-- end t -->\nb\n"
    assert (
        write_tables.replace_section(text, "t", "new\n")
        == "a\n<!-- begin t -->\nnew\n<!-- end t -->\nb\n"
    )
