import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.fleet.find_archives import find_archives


def test_each_once_and_those_of_a_pattern_sorted(tmp_path):
    for name in ("b.mar", "a.mar", "c[1].mar", "other.txt"):
        (tmp_path / name).touch()
    names = [str(tmp_path / name) for name in ("b.mar", "*.mar", "c[1].mar")]
    assert [path.name for path in find_archives(names)] == ["b.mar", "a.mar", "c[1].mar"]


def test_a_pattern_that_names_nothing(tmp_path):
    (tmp_path / "a.mar").touch()
    with pytest.raises(FireError, match=r"none\.mar: no such file"):
        find_archives([str(tmp_path / "a.mar"), str(tmp_path / "none.mar")])
