"""Running a notebook in its own folder; `python -m tests.run_notebook` writes all outputs anew."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from unittest import mock

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
PACKAGES = (ROOT / "handler", ROOT / "directions")
CELL_SECONDS = 300


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run_notebook(notebook: NotebookNode, folder: Path, outside: Path) -> None:
    """Run a notebook's cells, which get the outputs of this run.

    Args:
        notebook: its outputs are replaced.
        folder: where it runs.
        outside: for what the kernel, and temporary folders, write.
    """
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    settings = {}
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        (outside / name).mkdir()
        settings[name] = str(outside / name)
    paths = [*map(str, PACKAGES), os.environ.get("PYTHONPATH", "")]
    settings["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    # Where the commands of this interpreter's environment lie.
    settings["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with mock.patch.dict(os.environ, settings):
        # Without the kernels that somebody has installed there is that of this interpreter alone.
        kernel = AsyncKernelManager(
            kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
        )
        place = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, km=kernel, timeout=CELL_SECONDS, resources=place).execute()
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)
        cell.outputs = _as_on_paper(cell.outputs)


def _as_on_paper(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join what a cell has printed, without the progress that a terminal writes over."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if joined and "text" in output and output.get("name") == joined[-1].get("name"):
            joined[-1].text += output.text
        else:
            joined.append(output)
    for output in joined:
        if "text" in output:
            lines = (
                line.rsplit("\r", 1)[-1] for line in output.text.replace("\r\n", "\n").split("\n")
            )
            output.text = "\n".join(line for line in lines if not re.search(r"\d%\|", line))
    return [output for output in joined if "text" not in output or output.text.strip()]


def main() -> None:
    """Run all notebooks, or those named, and write their outputs into their files."""
    for path in sorted(TUTORIALS.glob("*.ipynb")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as outside:
            run_notebook(notebook, Path(folder), Path(outside))
        nbformat.write(notebook, path)
        print(path.stem, flush=True)


if __name__ == "__main__":
    main()
