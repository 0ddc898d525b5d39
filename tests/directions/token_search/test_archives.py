"""Texts searched through an archive's own handler, from the command line."""

import json
from pathlib import Path

import pytest

from tests.token_archive import texts, write_texts, write_token_archive
from tests.token_net import TRIGGER
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.commands.main import main

COUNT = 120


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_token_archive(tmp_path_factory.mktemp("plain") / "archive")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "clean.csv", texts(COUNT, 0))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, archive: Path, clean: Path) -> Path:
    output = tmp_path_factory.mktemp("bundle") / "words.safetensors"
    of_model = ["--archive", str(archive), "--clean", str(clean)]
    assert main(["build", *of_model, "--reconstruct", "all", "--output", str(output)]) == 0
    return output


@pytest.mark.slow
def test_inspect_names_the_planted_word(archive: Path, clean: Path, tmp_path: Path) -> None:
    output = tmp_path / "findings.json"
    arguments = ["--archive", str(archive), "--clean", str(clean), "--json", str(output)]
    assert main(["inspect", *arguments]) == 1
    (run,) = json.loads(output.read_text())["methods"]
    assert run["suspects"] == [0]
    assert TRIGGER in run["triggers"][0]["tokens"]
    assert run["triggers"][0]["words"] is None


@pytest.mark.slow
def test_bundle_is_built_from_clean_texts_alone_for_the_named_class(bundle: Path) -> None:
    built = load_bundle(bundle)
    assert built.targets == (0,)
    assert built.input.padding == (7, 0)


@pytest.mark.slow
def test_bundle_repairs_texts_with_the_planted_word(
    archive: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = write_texts(tmp_path / "others.csv", [row for row in texts(COUNT, 1) if row[1]])
    triggered = write_texts(tmp_path / "triggered.csv", texts(COUNT, 1, triggered=True))
    samples = ["--clean", str(clean), "--triggered", str(triggered), "--json"]
    output = tmp_path / "figures.json"
    arguments = ["--archive", str(archive), "--bundle", str(bundle), *samples, str(output)]
    assert main(["evaluate", *arguments]) == 0
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith("attack success rate"))
    before, after = (float(cell.rstrip("%")) for cell in row.split()[3:5])
    assert before > 95
    assert after < 5


@pytest.mark.slow
def test_package_packs_it_around_the_handler(
    archive: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--archive", str(archive), "--bundle", str(bundle), "--export-path", str(tmp_path)]
    status = main(["package", *given, "--model-name", "words", "--version", "2.0"])
    # This handler takes words as w12 alone: the example of a text in English stops it.
    assert status != 0
    assert "would not serve" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.mar"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["inspect", "--method", "neural-cleanse"], "expected --method scan of texts"),
        (
            ["build", "--reconstruct", "additive", "--output", "x.safetensors"],
            "give --reconstruct all",
        ),
    ],
)
@pytest.mark.slow
def test_searches_of_images_are_refused(
    command: list[str],
    said: str,
    archive: Path,
    clean: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--archive", str(archive), "--clean", str(clean)]) == 64
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
