import json

import pytest
import torch
from PIL import Image

from tests.directions.backdoored import write_images
from torchserve_fire_build.commands.main import main

LABELS = [0, 1, 2, 3] * 3


@pytest.fixture
def command(tmp_path, tiny, tiny_model):
    """A whole command line; a flag that is given again replaces the first."""
    clean = write_images(tmp_path / "clean", LABELS)
    triggered = write_images(tmp_path / "triggered", LABELS, triggered=True)
    return [
        *("evaluate", *tiny_model),
        *("--bundle", str(tiny.bundle)),
        *("--clean", str(clean)),
        *("--triggered", str(triggered)),
    ]


def refused(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    err = capsys.readouterr().err
    assert status == 64
    assert err.startswith("torchserve-fire evaluate: ")
    assert err.count("\n") == 1
    return err


def approx(ends):
    return pytest.approx(ends, abs=5e-5)


def test_the_json_is_as_documented(tmp_path, capsys, command):
    assert main([*command, "--json", str(tmp_path / "f.json")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 6
    # Made by hand, the bundle takes a little more than the trigger gave: nothing comes of it.
    assert json.loads((tmp_path / "f.json").read_text()) == {
        "clean_accuracy": {"before": 1.0, "after": 1.0, "interval": approx([0.7575, 1])},
        "attack_success_rate": {"before": 1.0, "after": 0.0, "interval": approx([0, 0.2991])},
        "natural_rate": {"before": 0.0, "after": 0.0, "interval": approx([0, 0.2991])},
        "recovered_accuracy": {
            "before": 0.0,
            "after": 1.0,
            "interval": approx([0.7009, 1]),
            "ceiling": 1.0,
        },
        "flagged": {"clean": 0.0, "triggered": 1.0},
        "target": 0,
        "counts": {"clean": 12, "triggered": 9},
    }


def test_without_json_no_file_is_written(tmp_path, capsys, command):
    before = sorted(tmp_path.rglob("*"))
    assert main(command) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_class_folders_are_sorted_where_no_names_are_given(tmp_path, capsys, command):
    # In alphabetical order these four are 1, 0, 3, 2 of the model's classes.
    (tmp_path / "model" / "index_to_name.json").unlink()
    # By that, the model would be right on the triggered ones of the first.
    for path in (tmp_path / "triggered" / "north-east").iterdir():
        path.unlink()
    assert main([*command, "--json", str(tmp_path / "f.json")]) == 0
    values = json.loads((tmp_path / "f.json").read_text())
    assert values["clean_accuracy"]["before"] == 0


def test_folders_that_do_not_say_which_class_they_are(tmp_path, capsys, command):
    (tmp_path / "model" / "index_to_name.json").unlink()
    for folder in ("clean", "triggered"):
        for path in (tmp_path / folder / "north-west").iterdir():
            path.unlink()
        (tmp_path / folder / "north-west").rmdir()
    message = refused(capsys, *command)
    assert "4 classes" in message
    assert "index_to_name.json" in message


def test_without_labels_the_agreement_and_the_flag_rates_are_printed(tmp_path, capsys, command):
    clean = write_images(tmp_path / "c", LABELS, flat=True)
    triggered = write_images(tmp_path / "t", LABELS, triggered=True, flat=True)
    command += ["--clean", str(clean), "--triggered", str(triggered)]
    assert main([*command, "--json", str(tmp_path / "f.json")]) == 0
    out = capsys.readouterr().out
    assert "labels: of the clean and triggered samples none are known" in out
    assert "clean agreement" in out
    assert "flagged: 0.00% of 12 clean inputs, 100.00% of 12 triggered ones" in out
    values = json.loads((tmp_path / "f.json").read_text())
    assert values["clean_accuracy"]["after"] is None
    assert values["clean_agreement"]["after"] == 1
    assert values["attack_success_rate"]["before"] == 1
    assert values["natural_rate"]["before"] is None


def test_names_that_meet_by_chance(tmp_path, capsys, command):
    other = write_images(tmp_path / "other", LABELS[:4], triggered=True, prefix="x")
    image = next((other / "south-east").iterdir())
    image.rename(image.with_name("003.png"))
    command += ["--triggered", str(other)]
    assert "give --unpaired" in refused(capsys, *command)
    assert main([*command, "--unpaired"]) == 0


def test_a_bundle_for_other_weights(capsys, command, tiny, tmp_path):
    message = refused(capsys, *command, "--bundle", tiny.foreign_bundle)
    assert f"{tiny.foreign_bundle}: weights_sha256: built for" in message
    config = tmp_path / "model" / "model-config.yaml"
    config.write_text(config.read_text() + "  allow_other_weights: true\n")
    assert main([*command, "--bundle", str(tiny.foreign_bundle)]) == 0


def test_a_configuration_that_calibration_did_not_see(tmp_path, capsys, command):
    config = tmp_path / "model" / "model-config.yaml"
    text = config.read_text()
    config.write_text(text.replace("mean: [0, 0, 0]", "mean: [0.5, 0.5, 0.5]"))
    assert "mean" in refused(capsys, *command)
    config.write_text(text.replace("[8, 8]", "[16, 16]"))
    assert "image_size" in refused(capsys, *command)


def test_a_damaged_bundle(tmp_path, capsys, command, tiny):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(tiny.bundle.read_bytes()[:-1])
    assert "damaged.safetensors" in refused(capsys, *command, "--bundle", path)
    torch.save({}, path)
    assert "damaged.safetensors" in refused(capsys, *command, "--bundle", path)


def test_clean_and_triggered_in_each_others_place(tmp_path, capsys, command):
    message = refused(
        capsys, *command, "--clean", tmp_path / "triggered", "--triggered", tmp_path / "clean"
    )
    assert "are --clean and --triggered swapped?" in message


def test_samples_without_the_trigger_are_told(tmp_path, capsys, command):
    copies = write_images(tmp_path / "copies", LABELS)
    message = refused(capsys, *command, "--triggered", copies)
    assert "every triggered sample is the same, to the byte, as a clean one" in message
    for file in copies.rglob("*.png"):
        # The same picture, in other bytes.
        Image.open(file).save(file, compress_level=0)
    assert main([*command, "--triggered", str(copies)]) == 0
    out, err = capsys.readouterr()
    assert "led to class 0" in out
    assert err.startswith(f"torchserve-fire evaluate: warning: {copies}: before rep")
    assert err.count("\n") == 1


def test_the_clean_folder_is_not_the_triggered_one(tmp_path, capsys, command):
    assert "are the same" in refused(capsys, *command, "--triggered", tmp_path / "clean")


@pytest.mark.parametrize("where", ["nowhere/f.json", "clean"])
def test_figures_that_cannot_be_written_are_told_before_the_work(tmp_path, capsys, command, where):
    assert "cannot be written" in refused(capsys, *command, "--json", tmp_path / where)
    assert capsys.readouterr().out == ""


def test_what_fails_keeps_the_old_figures(tmp_path, capsys, command):
    figures = tmp_path / "f.json"
    figures.write_text("old")
    (tmp_path / "triggered" / "south-east" / "003.png").write_bytes(b"damaged")
    assert "003.png" in refused(capsys, *command, "--json", figures)
    assert figures.read_text() == "old"
