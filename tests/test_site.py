"""The README and the documentation's site: they build, run as they stand, and are short."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from tests.directions.backdoored import write_images
from tests.tiny import CLASSES, CONFIG
from tests.tiny_net import trained
from torchserve_fire_build.commands import COMMANDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
READ_IN_A_HURRY = ("README.md", "docs/index.md", "docs/start.md", "docs/incident.md")
PAGES_OF_SERVING = (
    "attacks.md",
    "bundle-folder.md",
    "deploy.md",
    "inspect.md",
    "onnx.md",
    "own-handler.md",
    "reference/bundle-format.md",
    "repair-lines.md",
    "requests.md",
    "security-requests.md",
    "security-store.md",
    "security.md",
    "serving.md",
    "settings.md",
    "signatures.md",
    "troubleshooting-bundles.md",
    "troubleshooting.md",
    "watch.md",
)
PAGES_OF_METHODS = (
    "altered-triggers.md",
    "choice.md",
    "decisions.md",
    "from-clean-images.md",
    "less-evidence.md",
    "methods.md",
    "pools.md",
    "refining.md",
    "scan.md",
    "searches.md",
)
LONG = {
    "attacks.md",
    "benchmark.md",
    "bundle-format.md",
    "malware-and-texts.md",
    "operations.md",
    "pools.md",
    "refining.md",
    "scan.md",
    "searches.md",
}
"""Evidence, and reference."""


def prose(text: str) -> str:
    """Return text without code, tables and comments; lists become paragraphs."""
    text = re.sub(r"(?s)```.*?```|<!-- begin.*?<!-- end.*?-->", "", text)
    lines = [line for line in text.splitlines() if not line.startswith(("    ", "|", "#", "!["))]
    return re.sub(r"(?m)^\s*(?:- |\d\. )", "\n", "\n".join(lines))


@pytest.mark.parametrize(
    "name",
    [
        *READ_IN_A_HURRY,
        *(f"docs/{page}" for page in (*PAGES_OF_SERVING, *PAGES_OF_METHODS)),
    ],
)
def test_no_sentence_is_longer_than_35_words(name):
    sentences = re.split(r"(?<=[.?!:])\s+|\n\n+", prose((ROOT / name).read_text()))
    assert [s for s in sentences if len(s.split()) > 35] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_no_page_is_long_but_evidence_and_reference():
    long = {path.name for path in DOCS.glob("**/*.md") if len(path.read_text().split()) > 1500}
    assert long <= LONG


def test_every_page_is_in_the_menu():
    menu = re.findall(r"\S+\.md$", (ROOT / "mkdocs.yml").read_text(), re.M)
    pages = {str(path.relative_to(DOCS)) for path in DOCS.glob("**/*.md")}
    notebooks = {str(path.relative_to(DOCS).with_suffix(".md")) for path in DOCS.glob("**/*.ipynb")}
    assert set(menu) == pages | notebooks | {"reference/commands.md"}
    assert len(menu) == len(set(menu))


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_python_runs_as_it_stands(name, tmp_path, monkeypatch):
    labels = [k for k in range(4) for _ in range(10)]
    clean = write_images(tmp_path / "calibration" / "clean", labels)
    triggered = write_images(tmp_path / "calibration" / "triggered", labels, triggered=True)
    (tmp_path / "model-config.yaml").write_text(CONFIG.format(workers=1, delay=0, mode="repair"))
    (tmp_path / "index_to_name.json").write_text(json.dumps(dict(enumerate(CLASSES))))
    (file,) = (triggered / "south-east").glob("*30.png")
    shown = [Image.open(folder / "south-east" / file.name) for folder in (clean, triggered)]
    images = torch.stack([pil_to_tensor(image) for image in shown]) / 255
    model = trained().eval()
    assert model(images).argmax(1).tolist() == [3, 0]
    (code,) = re.findall(r"(?s)```python\n(.*?)```", (ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    names = {"model": model, "images": images}
    exec(code, names)  # noqa: S102
    assert names["flagged"].tolist() == [False, True]
    assert names["logits"].argmax(1).tolist() == [3, 3]


@pytest.mark.slow
def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path):
    # Strict: a page that no menu shows, a link or an anchor that leads nowhere, is an error.
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert "unrecognized relative link" not in made.stderr
    commands = (tmp_path / "site" / "reference" / "commands" / "index.html").read_text()
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2].replace("_", "-")
        assert f'id="{name}"' in commands
    python = (tmp_path / "site" / "reference" / "python" / "index.html").read_text()
    assert "build_bundle" in python
    tutorial = (tmp_path / "site" / "tutorials" / "repair_in_python" / "index.html").read_text()
    assert "data:image/png;base64," in tutorial
    assert "Raises" in python
    # A link to a notebook leads to its page.
    assert "ipynb" not in (tmp_path / "site" / "python" / "index.html").read_text()
