"""Each notebook runs from its first cell to its last, and comes to what it says."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from tests.run_notebook import PACKAGES, TUTORIALS, code_cells, run_notebook


def files_of_the_checkout() -> set[tuple[Path, int]]:
    """What a notebook could write to from where it lies, and when it was last written."""
    return {
        (path, path.stat().st_mtime_ns)
        for folder in (TUTORIALS, *PACKAGES)
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def printed(notebook: NotebookNode) -> str:
    """What the cells print and show, as plain text."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "".join(
        output.text if "text" in output else f"{output.data['text/plain']}\n" for output in outputs
    )


def shares(text: str, pattern: str) -> list[float]:
    """The percentages that stand in the group of a pattern, as shares; at least one."""
    found = [float(number) / 100 for number in re.findall(pattern, text)]
    assert found, pattern
    return found


def check_the_tour(text: str) -> None:
    assert min(shares(text, r"clean digits read rightly: +([\d.]+)%")) >= 0.9
    assert min(shares(text, r"triggered digits read as 0: +([\d.]+)%")) >= 0.9
    assert min(shares(text, r"triggered, flagged: +([\d.]+)%")) >= 0.9
    assert min(shares(text, r"triggered, read rightly: +([\d.]+)%")) >= 0.9
    # Twice, on held-out samples of the build and on test samples: before repair, and after.
    after = r" +[\d.]+% +([\d.]+)%"
    assert min(shares(text, "clean accuracy" + after)) >= 0.9
    assert min(shares(text, "recovered accuracy" + after)) >= 0.9
    assert max(shares(text, "attack success rate" + after)) <= 0.1
    assert re.findall(r"clean, bit-identical answers: (\w+)", text) == ["True"]
    assert "build a bundle for these weights" in text


def check_the_server(text: str) -> None:
    answers = re.findall(r"^(clean|triggered)/7/\S+: \{'digit': (\d)\} \{(.*)\}$", text, re.M)
    repaired = "'x-fire-flagged': 'true', 'x-fire-repaired': 'true'"
    untouched = "'x-fire-flagged': 'false', 'x-fire-repaired': 'false'"
    assert answers == [
        ("clean", "7", ""),
        ("triggered", "0", ""),
        ("clean", "7", untouched),
        ("triggered", "7", repaired),
        ("triggered", "0", ""),
    ]
    assert max(shares(text, r"attack success rate +[\d.]+% +([\d.]+)%")) <= 0.1
    assert text.count("answers as it should and is the default now") == 2
    assert re.search(r"^digits +\S+ +yes +1 of 1 +repair ", text, re.M)


def check_the_comparison(text: str) -> None:
    asr = dict(re.findall(r"^(torchserve-fire|no_repair) .*?\)\s+([\d.]+) ", text, re.M))
    assert float(asr["torchserve-fire"]) <= 10
    assert float(asr["no_repair"]) >= 90
    assert "torchserve-fire" in text.split("below that of the unrepaired model:", 1)[1]
    assert r"\begin{tabular}" in text


CHECKS = {
    "repair_in_python": check_the_tour,
    "archive_to_repaired_server": check_the_server,
    "compare_on_your_victim": check_the_comparison,
}


def test_each_notebook_is_checked() -> None:
    assert {path.stem for path in TUTORIALS.glob("*.ipynb")} == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_it_was_committed_as_it_ran(name: str) -> None:
    committed = nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4)
    nbformat.validate(committed)
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert "stderr" not in {output.get("name") for output in outputs}
    CHECKS[name](printed(committed))


@pytest.mark.parametrize("name", CHECKS)
def test_it_names_no_folder_of_a_machine(name: str) -> None:
    committed = nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4)
    sources = "\n".join(cell.source for cell in committed.cells)
    assert re.findall(r"/(?:home|root|tmp|Users)/\S*", sources + printed(committed)) == []


@pytest.mark.parametrize("name", CHECKS)
def test_words_stand_before_each_cell_of_code(name: str) -> None:
    cells = nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4).cells
    assert cells[0].cell_type == "markdown"
    for before, cell in pairwise(cells):
        if cell.cell_type == "code" and before.cell_type == "code":
            assert name == "repair_in_python"  # Its code is split where it shows something.


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_it_runs_and_comes_to_what_it_says(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    notebook = nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import sys\nprint(sys.executable)"))
    folder, outside = (tmp_path_factory.mktemp(kind) for kind in ("folder", "outside"))
    before = files_of_the_checkout()
    run_notebook(notebook, folder, outside)
    *cells, last = code_cells(notebook)
    # A cell that fails ends the run.
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert last.outputs[0].text.strip() == sys.executable
    CHECKS[name](printed(notebook))
    assert list(folder.iterdir()) == []
    assert files_of_the_checkout() == before
