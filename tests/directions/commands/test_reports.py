"""What `--report` writes, by each command that has it."""

import csv
import json

import pytest

from tests.directions.backdoored import write_images
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.report.html_report import FILES

LABELS = [0, 1, 2, 3] * 3


@pytest.fixture
def samples(tmp_path):
    clean = write_images(tmp_path / "clean", LABELS * 10)
    return clean, write_images(tmp_path / "triggered", LABELS, triggered=True)


@pytest.fixture
def command(samples, tiny, tiny_model):
    clean, triggered = map(str, samples)
    bundle = ("--bundle", str(tiny.bundle))
    pair = ("--clean", clean, "--triggered", triggered)
    return {
        "evaluate": ["evaluate", *tiny_model, *bundle, *pair, "--unpaired"],
        "screen": ["screen", *tiny_model, *bundle, triggered],
        "screen by clean": ["screen", *tiny_model, "--clean", clean, triggered],
        "inspect": ["inspect", *tiny_model, "--clean", clean, "--method", "neuron-inspect"],
    }


@pytest.mark.parametrize(
    ("name", "status", "verdict"),
    [
        # Of nine triggered images, those of other classes, all are led to 0, and none is then.
        (
            "evaluate",
            0,
            "The trigger led 100.0% of the samples to class 0 north-west, and leads 0.0% there",
        ),
        ("screen", 1, "Found: 12 of 12 samples are flagged"),
        ("screen by clean", 1, "Found (called class 0 north-west)"),
        ("inspect", 2, "Could not tell: these methods give hints, which decide nothing."),
    ],
)
def test_a_report_says_what_the_command_says(tmp_path, capsys, command, name, status, verdict):
    folder = tmp_path / "report"
    assert main([*command[name], "--report", str(folder)]) == status
    assert capsys.readouterr().out.endswith(f"report: {folder / 'report.html'}\n")
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    values = json.loads((folder / "report.json").read_text())
    assert values["verdict"].startswith(verdict)
    made_by = values["provenance"]["command"]
    assert made_by.startswith(f"torchserve-fire {command[name][0]} ")
    assert made_by.endswith(f" --report {folder}")
    page = (folder / "report.html").read_text()
    assert values["provenance"]["weights in memory, SHA-256"] in page
    # The tiny model's names of classes stand beside its configuration.
    assert "0 north-west" in page or name == "inspect"


def test_every_sample_has_its_row(tmp_path, command):
    assert main([*command["evaluate"], "--report", str(tmp_path / "report")]) == 0
    rows = list(csv.DictReader((tmp_path / "report" / "report.csv").open()))
    assert len(rows) == 120 + 12
    triggered = [row for row in rows if row["kind"] == "triggered"]
    assert {row["flagged"] for row in triggered} == {"flagged"}
    assert {row["before"] for row in triggered} == {"0 north-west"}
    assert all(row["after"] == row["true class"] for row in triggered)
    assert {row["flagged"] for row in rows if row["kind"] == "clean"} == {"no"}


def test_a_page_of_a_thousand_samples_is_below_3_megabytes(tmp_path, tiny, tiny_model):
    clean = write_images(tmp_path / "clean", [0, 1, 2, 3] * 150)
    triggered = write_images(tmp_path / "triggered", [0, 1, 2, 3] * 100, triggered=True)
    files = ["--bundle", str(tiny.bundle), "--clean", str(clean), "--triggered", str(triggered)]
    folder = tmp_path / "report"
    assert main(["evaluate", *tiny_model, *files, "--report", str(folder)]) == 0
    assert (folder / "report.html").stat().st_size < 3e6


def test_where_no_report_can_be_written_nothing_begins(tmp_path, capsys, command):
    (tmp_path / "report").write_text("")
    for each in command.values():
        assert main([*each, "--report", str(tmp_path / "report")]) == 64
        out, err = capsys.readouterr()
        assert out == ""
        assert "is a file, expected a folder" in err
        assert err.count("\n") == 1
