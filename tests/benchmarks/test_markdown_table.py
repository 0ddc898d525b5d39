import pytest

from benchmarks.markdown_table import markdown_table


def test_a_small_table():
    table = markdown_table(["victim", "clean / triggered"], [["a-b", "1 / 2"], ["", "not run"]])
    assert table.splitlines(keepends=True) == [
        "| victim | clean / triggered |\n",
        "|---|---|\n",
        "| a-b | 1 / 2 |\n",
        "|  | not run |\n",
    ]


def test_a_table_without_rows():
    assert markdown_table(["victim", "BA", "ASR"], []) == "| victim | BA | ASR |\n|---|---|---|\n"


@pytest.mark.parametrize("row", [[], ["a"], ["a", "b", "c"]])
def test_a_row_has_as_many_cells_as_there_are_headings(row):
    with pytest.raises(ValueError, match=f"{len(row)} cells below 2 headings"):
        markdown_table(["victim", "BA"], [["a", "b"], row])
