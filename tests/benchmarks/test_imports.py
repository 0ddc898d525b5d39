import pytest

from benchmarks.imports_picture import _arrange, draw
from benchmarks.read_imports import Imports, find_layers, read_imports


def tree(folder, **files):
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {"house": folder}


def test_a_part_stands_above_all_that_it_imports(tmp_path):
    packages = tree(
        tmp_path,
        cellar="import os\n",
        kitchen="from . import cellar\nfrom .cellar import wine\n",
        attic__roof="from house.kitchen import stove\n\ndef late():\n    import house.cellar\n",
        attic__window="from .roof import tiles\nfrom ..cellar import (\n    glass,\n)\n",
    )
    (tmp_path / "__init__.py").write_text("from .attic.roof import tiles\n")
    (tmp_path / "attic" / "__init__.py").write_text("")
    found = read_imports(packages)
    assert found.layers == {"house.cellar": 0, "house.kitchen": 1, "house.attic": 2}
    assert found.parts == {"house.cellar": 1, "house.kitchen": 1, "house.attic": 3}
    assert found.arrows == {
        ("house.attic", "house.cellar"): 2,
        ("house.attic", "house.kitchen"): 1,
        ("house.kitchen", "house.cellar"): 2,
    }
    assert found.describe() == "3 packages and modules in 3 layers, 3 arrows, none of them upwards"
    assert draw(found).startswith(b"\x89PNG")
    assert read_imports(packages, whole=["house"]).parts == {"house": 6}


def test_of_a_circle_the_arrow_of_the_fewest_imports_goes_upwards(tmp_path):
    packages = tree(
        tmp_path,
        cellar="from .attic import rain\n",
        kitchen="from .cellar import wine\nfrom .cellar import bread\n",
        attic="from .kitchen import stove\nfrom .kitchen import pipe\n",
    )
    found = read_imports(packages)
    assert found.layers == {"house.cellar": 0, "house.kitchen": 1, "house.attic": 2}
    assert found.upward == [("house.cellar", "house.attic")]
    assert found.describe() == "3 packages and modules in 3 layers, 3 arrows, 1 of them upwards"


def test_parts_that_import_nothing_stand_in_the_lowest_layer():
    assert find_layers(["a", "b"], {}) == {"a": 0, "b": 0}


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SystemExit, match="attic: no such folder, expected the package house"):
        read_imports({"house": tmp_path / "attic"})
    with pytest.raises(SystemExit, match="no module"):
        read_imports({"house": tmp_path})


def test_boxes_lie_side_by_side_within_the_picture():
    ground = [f"house.{'x' * (5 + i % 9)}{i}" for i in range(40)]
    layers = {"house.roof": 1, **dict.fromkeys(ground, 0)}
    parts, arrows = dict.fromkeys(layers, 1), {("house.roof", part): 1 for part in ground}
    layout = _arrange(Imports(parts, arrows, layers))
    assert set(layout.boxes) == set(parts)
    assert layout.layers[:2] == [1, 0]
    for i, line in enumerate(layout.lines):
        edges = [edge for box in line for edge in (box.left, box.right)]
        assert edges == sorted(edges)
        assert edges[0] > 0
        assert edges[-1] < layout.width
        assert {box.line for box in line} == {i}
