"""The description of the package, held against its folders."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def described() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(value: str) -> list[str]:
    return [line for line in map(str.strip, value.splitlines()) if line and line[0] != "#"]


def test_every_folder_with_code_is_a_package() -> None:
    options = described()["options"]
    found = []
    for line in lines(options["package_dir"]):
        name, _, folder = (part.strip() for part in line.partition("="))
        top = ROOT / folder
        for path in {file.parent for file in top.rglob("*.py")}:
            assert (path / "__init__.py").is_file(), path
            found.append(".".join([name, *path.relative_to(top).parts]))
    assert lines(options["packages"]) == sorted(found)


def test_what_is_no_code_is_packed_along() -> None:
    parser = described()
    for package, files in parser["options.package_data"].items():
        folder = ROOT / ("handler" if package == "torchserve_fire" else "directions") / package
        others = {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc")
        }
        assert set(lines(files)) == others
    for file in lines(parser["options.data_files"]["share/torchserve-fire"]):
        assert (ROOT / file).is_file()


def test_no_newer_python_is_refused() -> None:
    assert described()["options"]["python_requires"] == ">=3.10"


def test_the_test_extra_brings_all_others() -> None:
    extras = described()["options.extras_require"]
    others = ",".join(name for name in extras if name != "test")
    assert f"torchserve-fire[{others}]" in lines(extras["test"])
