"""The rooms of the package stand on floors: each imports from those below it only."""

import ast
from pathlib import Path

import pytest

import torchserve_fire

ROOT = Path(torchserve_fire.__file__).parent
FLOORS = ("errors", "format", "model", "repair", "watch", "serve")
ADAPTERS = {"fire_handler", "fire_service", "torchserve_metrics"}
"""The files that know TorchServe."""


def imported_rooms(file: Path) -> set[str]:
    """The rooms whose modules a file imports, relative to it as all of them are."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            rooms.add((node.module or "").split(".")[0])
    return rooms


def imported_packages(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


FILES = sorted(ROOT.glob("*/*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_room_imports_from_below_only(file):
    floor = FLOORS.index(file.parent.name)
    assert {room for room in imported_rooms(file) if FLOORS.index(room) >= floor} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_only_the_adapter_knows_torchserve_and_nothing_knows_what_builds(file):
    packages = imported_packages(file)
    assert "torchserve_fire_build" not in packages
    assert "ts" not in packages or file.stem in ADAPTERS


def test_every_room_says_what_happens_there():
    rooms = {file.parent.name for file in FILES}
    assert rooms == set(FLOORS) - {"errors"}
    for room in rooms:
        docstring = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
        assert docstring
        assert "\n" not in docstring
