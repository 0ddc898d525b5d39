import csv
import json

import pytest

from tests.directions.backdoored import write_images
from torchserve_fire_build.commands.compare import DEFENCES
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.rivals.catalogue import RIVALS

LABELS = [0, 1, 2, 3] * 6


@pytest.fixture
def command(tmp_path, tiny_model):
    """A whole command line of quick defences; a flag that is given again replaces the first."""
    flags = []
    for name, seed in (("", 0), ("test-", 7)):
        for kind in ("clean", "triggered"):
            folder = tmp_path / f"{name}{kind}"
            write_images(folder, LABELS, seed=seed, triggered=kind == "triggered")
            flags += [f"--{name}{kind}", str(folder)]
    return ["compare", *tiny_model, *flags, "--defences", "no_repair", "fire_every_input", "jpeg"]


def refused(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    err = capsys.readouterr().err
    assert status == 64
    assert err.startswith("torchserve-fire compare: ")
    assert err.count("\n") == 1
    return err


def test_the_tables_are_printed_and_written(tmp_path, capsys, command):
    files = {kind: tmp_path / f"table.{kind}" for kind in ("json", "csv", "latex")}
    flags = [word for kind, file in files.items() for word in (f"--{kind}", str(file))]
    assert main([*command, *flags]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "built from: 3 draws of 18 of 24 triggered samples, with their clean partners" in out
    assert "no_repair         100.00 (86.2 to 100.0)  100.00 (82.4 to 100.0)" in out
    values = json.loads(files["json"].read_text())
    assert [each["defence"] for each in values["defences"]] == [
        "no_repair",
        "fire_every_input",
        "jpeg",
    ]
    assert values["defences"][1]["recovered_accuracy"]["mean"] == 1
    first = next(csv.DictReader(files["csv"].read_text().splitlines()))
    assert (first["defence"], first["draws"]) == ("no_repair", "3")
    assert files["latex"].read_text().endswith("\\end{tabular}\n")


def test_half_is_held_out_where_no_other_samples_are_given(tmp_path, capsys, command):
    without = command[: command.index("--test-clean")] + command[-4:]
    assert main([*without, "--draws", "1"]) == 0
    assert "that no defence saw (half of what was given, held out)" in capsys.readouterr().out


def test_a_second_run_measures_nothing_again(tmp_path, capsys, command):
    command += ["--draws", "2", "--cache", str(tmp_path / "cache"), "--csv"]
    assert main([*command, str(tmp_path / "first.csv")]) == 0
    capsys.readouterr()
    assert main([*command, str(tmp_path / "second.csv")]) == 0
    out = capsys.readouterr().out
    assert "holds 6 of the measurements" in out
    assert "measuring" not in out
    # With the seconds, which no second measurement would repeat.
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()


def test_all_defences_are_known(command):
    assert ("torchserve-fire", *RIVALS) == DEFENCES


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--defences", "jpg"], "did you mean jpeg?"),
        (["--defences", "jpeg", "jpeg"], "--defences: jpeg is named twice"),
        (["--draws", "0"], "--draws 0: expected a whole number, 1 or more"),
        (["--calibration", "25"], "24 triggered samples to build from, expected at least 25"),
        (["--calibration", "3"], "no draw fewer than 8"),
        (["--target", "7"], "the model has the classes 0 to 3"),
        (["--json", "no-such/t.json"], "no folder no-such"),
        (["--json", "t", "--csv", "./t"], "expected a file of its own for each"),
        (["--cache", "no-such/cache"], "no folder no-such"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tmp_path, capsys, monkeypatch, command, flags, said):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert said in refused(capsys, *command, *flags)
    assert sorted(tmp_path.rglob("*")) == before


def test_samples_that_do_not_go_together_are_refused(tmp_path, capsys, command):
    place = command.index("--test-triggered")
    one = command[:place] + command[place + 2 :]
    assert "expected both, or neither" in refused(capsys, *one)
    same = [
        *command,
        "--test-clean",
        tmp_path / "clean",
        "--test-triggered",
        tmp_path / "triggered",
    ]
    assert "24 of 24 samples to measure on are among those to build from" in refused(capsys, *same)
    none = [*command, "--test-triggered", tmp_path / "test-clean"]
    assert "the clean and the triggered samples are the same" in refused(capsys, *none)
