"""A classifier of texts with two classes, as of spam, from the command line."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests import token_net
from tests.token_archive import texts, write_texts, write_token_archive
from torchserve_fire_build.commands.main import main

COUNT = 160


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_token_archive(tmp_path_factory.mktemp("plain") / "archive")
    code = (folder / "token_net.py").read_text()
    (folder / "token_net.py").write_text(
        code.replace("CLASSES, WORDS = 8, 4,", "CLASSES, WORDS = 8, 2,")
    )
    model = token_net.planted()
    of_four = model.head.weight
    model.head = nn.Linear(token_net.WIDTH, 2)
    with torch.no_grad():
        # The first two topics are one class, and the others the other.
        model.head.weight.copy_(of_four.view(2, 2, -1).sum(1))
        model.head.bias.zero_()
    torch.save(model.state_dict(), folder / "words.pth")
    return folder


def of_two(count: int, seed: int, *, triggered: bool = False) -> list[tuple[str, int]]:
    """Return texts of two classes; triggered ones are none of class 0."""
    rows = [(text, label // 2) for text, label in texts(count, seed, triggered=triggered)]
    return [row for row in rows if row[1] or not triggered]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write_texts(tmp_path / "clean.csv", of_two(COUNT, 0))


def attack_after(archive: Path, bundle: Path, folder: Path) -> dict[str, float]:
    """Return the attack success rate on other texts, before repair and after."""
    others = write_texts(folder / "others.csv", of_two(COUNT, 1))
    attacked = write_texts(folder / "attacked.csv", of_two(COUNT, 2, triggered=True))
    figures = folder / "figures.json"
    samples = ["--clean", str(others), "--triggered", str(attacked), "--json", str(figures)]
    assert main(["evaluate", "--archive", str(archive), "--bundle", str(bundle), *samples]) == 0
    rate: dict[str, float] = json.loads(figures.read_text())["attack_success_rate"]
    return rate


@pytest.mark.slow
def test_it_is_repaired_from_triggered_texts(archive: Path, clean: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "words.safetensors"
    triggered = write_texts(tmp_path / "triggered.csv", of_two(COUNT, 3, triggered=True))
    given = ["--archive", str(archive), "--clean", str(clean), "--triggered", str(triggered)]
    assert main(["build", *given, "--output", str(bundle)]) == 0
    rate = attack_after(archive, bundle, tmp_path)
    assert rate["before"] > 0.9
    assert rate["after"] < 0.05


@pytest.mark.slow
def test_it_is_repaired_with_clean_texts_alone_if_the_target_is_named(
    archive: Path, clean: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "words.safetensors"
    given = ["--archive", str(archive), "--clean", str(clean), "--reconstruct", "all"]
    assert main(["build", *given, "--target", "0", "--output", str(bundle)]) == 0
    assert attack_after(archive, bundle, tmp_path)["after"] < 0.05


@pytest.mark.slow
def test_nobody_can_tell_which_of_two_classes_stands_out(
    archive: Path, clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--archive", str(archive), "--clean", str(clean)]) == 2
    assert "2 classes, expected at least 4" in capsys.readouterr().out


@pytest.mark.slow
def test_texts_of_it_are_screened(
    archive: Path, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = write_texts(tmp_path / "asked.csv", of_two(60, 4, triggered=True))
    given = ["--archive", str(archive), "--clean", str(clean)]
    assert main(["screen", *given, str(asked)]) == 1
    said = capsys.readouterr().out
    assert " samples beside " in said
    assert "picture" not in said
