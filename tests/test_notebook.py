"""The notebook runs from its first cell to its last, and comes to what it says."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "repair_in_python.ipynb"
PACKAGES = (ROOT / "handler", ROOT / "directions")
CELL_SECONDS = 100


@dataclass(frozen=True)
class Run:
    """A run of the notebook, with one more cell that says which Python it was.

    Attributes:
        notebook: with the outputs of this run.
        folder: where it ran.
        written: files of the checkout that were made, changed or removed meanwhile.
    """

    notebook: NotebookNode
    folder: Path
    written: set[Path]


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def files_of_the_checkout() -> set[tuple[Path, int]]:
    """What the notebook could write to from where it lies, and when it was last written."""
    return {
        (path, path.stat().st_mtime_ns)
        for folder in (NOTEBOOK.parent, *PACKAGES)
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def committed() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell("import sys\nprint(sys.executable)"))
    folder, outside = (tmp_path_factory.mktemp(name) for name in ("folder", "outside"))
    before = files_of_the_checkout()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
            (outside / name).mkdir()
            patch.setenv(name, str(outside / name))
        for package in reversed(PACKAGES):
            patch.setenv("PYTHONPATH", str(package), prepend=os.pathsep)
        # Without the kernels that somebody has installed there is that of this interpreter alone.
        kernel = AsyncKernelManager(
            kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
        )
        place = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, km=kernel, timeout=CELL_SECONDS, resources=place).execute()
    changed = before ^ files_of_the_checkout()
    return Run(notebook, folder, {path for path, _ in changed})


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


def check_results(notebook: NotebookNode) -> None:
    text = printed(notebook)
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


def test_it_was_committed_as_it_ran(committed: NotebookNode) -> None:
    nbformat.validate(committed)
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert "stderr" not in {output.get("name") for output in outputs}
    check_results(committed)


def test_it_names_no_folder_of_a_machine(committed: NotebookNode) -> None:
    sources = "\n".join(cell.source for cell in committed.cells)
    assert re.findall(r"/(?:home|root|tmp|Users)/\S*", sources + printed(committed)) == []


@pytest.mark.slow
def test_it_runs_and_comes_to_what_it_says(run: Run) -> None:
    *cells, last = code_cells(run.notebook)
    # A cell that fails ends the run.
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert last.outputs[0].text.strip() == sys.executable
    check_results(run.notebook)


@pytest.mark.slow
def test_it_leaves_nothing_where_it_lies(run: Run) -> None:
    assert list(run.folder.iterdir()) == []
    assert run.written == set()
