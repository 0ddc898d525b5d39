import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.directions.backdoored import TENSOR, loaded, two_trigger_sets
from tests.directions.calibrated import calibrated
from torchserve_fire.errors import FireError
from torchserve_fire_build.building.from_samples import build_bundle
from torchserve_fire_build.common.errors import OutputError
from torchserve_fire_build.measure.figures import Figures
from torchserve_fire_build.report.build_report import (
    check_report_folder,
    write_report,
    write_reports,
)
from torchserve_fire_build.report.layers_picture import draw
from torchserve_fire_build.report.sweep import LayerSweep, Point, sweep
from torchserve_fire_build.samples.open_samples import open_samples

FIGURES = Figures((1.0, 1.0), (1.0, 0.0), (0.0, 0.975), 1.0, (0.0, 1.0), 0, (40, 30))
FILES = ["layers.png", "report.html", "report.json"]


def write(sweeps, record, bundle, folder):
    write_report(sweeps, record, FIGURES, bundle, {"command": "build"}, folder)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def assert_nothing_is_cut_off(data):
    """There is something in the picture, and nothing that reaches its edge."""
    image = pixels(data)
    assert image.min() < 100
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert edge.min() == 255


def written(folder, kind="vector", **options):
    record, bundle = calibrated(folder / "samples", kind, **options)
    sweeps = sweep(record)
    write(sweeps, record, bundle, folder / "report")
    return sweeps, record, bundle, json.loads((folder / "report" / "report.json").read_text())


@pytest.mark.parametrize("form", ["gated", "shift", "clamp"])
@pytest.mark.slow
def test_the_numbers_are_those_of_the_sweep(tmp_path, form):
    sweeps, record, bundle, numbers = written(tmp_path, form=form)
    assert names_in(tmp_path / "report") == FILES
    page = (tmp_path / "report" / "report.html").read_text()
    assert "97.5% of them get their true class, of 100.0% without the trigger" in page
    assert record.choice.repair.estimator in page
    assert (numbers["model_class"], numbers["target"]) == ("VectorNet", 0)
    assert numbers["held_out"]["recovered_accuracy"] == dict(bundle.held_out["recovered_accuracy"])
    repair = record.choice.repair
    assert numbers["choice"]["form"] == form
    assert numbers["choice"]["correction"] == {
        "layer": repair.layer,
        "estimator": repair.estimator,
        "strength": repair.strength,
    }
    assert (numbers["choice"]["detection"] is None) == (form != "gated")
    assert [entry["layer"] for entry in numbers["layers"]] == ["mix", "relu"]
    for swept, entry in zip(sweeps, numbers["layers"], strict=True):
        assert entry["auc"] == swept.auc
        for point, values in zip(swept.points, entry["strengths"], strict=True):
            assert values["strength"] == point.strength
            assert values["every_input"] == {
                "clean_accuracy": point.every_input.clean_accuracy[1],
                "attack_success_rate": point.every_input.attack_success_rate[1],
                "recovered_accuracy": point.every_input.recovered_accuracy[1],
            }
            assert (values["flagged_inputs"] is None) == (form != "gated")
    assert_nothing_is_cut_off((tmp_path / "report" / "layers.png").read_bytes())


def test_a_report_if_the_classes_are_unknown(tmp_path):
    *_, numbers = written(tmp_path, labelled=False, paired=False)
    points = numbers["layers"][0]["strengths"]
    assert {point["every_input"]["recovered_accuracy"] for point in points} == {None}
    assert points[0]["every_input"]["attack_success_rate"] == 1


def test_the_same_sweep_gives_the_same_bytes(tmp_path):
    record, bundle = calibrated(tmp_path / "samples", "vector")
    sweeps = sweep(record)
    for name in ("one", "two"):
        write(sweeps, record, bundle, tmp_path / name)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_other_files_of_the_folder_are_kept(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "notes.txt").write_text("mine")
    (tmp_path / "report" / "report.json").write_text("old")
    *_, numbers = written(tmp_path)
    assert numbers["layers"]
    assert names_in(tmp_path / "report") == sorted([*FILES, "notes.txt"])


def test_an_old_report_stays_complete_if_a_new_one_cannot_be_written(tmp_path):
    record, bundle = calibrated(tmp_path / "samples", "vector")
    folder = tmp_path / "report"
    (folder / "report.json").mkdir(parents=True)
    (folder / "layers.png").write_bytes(b"old")
    with pytest.raises(OutputError, match="it is a folder"):
        write(sweep(record), record, bundle, folder)
    assert (folder / "layers.png").read_bytes() == b"old"
    assert names_in(folder) == ["layers.png", "report.json"]


@pytest.mark.slow
def test_an_interruption_leaves_the_old_report(tmp_path, monkeypatch):
    record, bundle = calibrated(tmp_path / "samples", "vector")
    sweeps, folder = sweep(record), tmp_path / "report"
    write(sweeps, record, bundle, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fdopen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(sweeps[::-1], record, bundle, folder)
    with pytest.raises(KeyboardInterrupt):
        write(sweeps, record, bundle, tmp_path / "new")
    monkeypatch.undo()
    assert not (tmp_path / "new").exists()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_with_several_targets_each_has_a_report_of_its_own(tmp_path, monkeypatch):
    sets = two_trigger_sets(tmp_path / "samples", "vector")
    built = build_bundle(
        loaded("vector", second_trigger=True),
        open_samples(sets.clean, TENSOR),
        open_samples(sets.triggered, TENSOR),
    )
    records, bundle = built.records, built.bundle
    folder = tmp_path / "report"
    with monkeypatch.context() as broken:
        broken.setattr("torchserve_fire_build.report.build_report.draw", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_reports(records, built.figures, bundle, {}, folder)
    assert not folder.exists()
    assert sorted(write_reports(records, built.figures, bundle, {}, folder)) == [
        folder / "class_0",
        folder / "class_1",
    ]
    assert names_in(folder) == ["class_0", "class_1"]
    for record in records:
        of_class = folder / f"class_{record.target}"
        assert names_in(of_class) == FILES
        numbers = json.loads((of_class / "report.json").read_text())
        assert numbers["target"] == numbers["held_out"]["target"] == record.target
        assert numbers["evidence"]["triggered_as_target"] == 40
        assert numbers["choice"]["correction"]["layer"] == record.choice.repair.layer


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file", "is a file"), ("no/report", "no folder"), ("file/report", "no folder")],
)
def test_a_folder_that_cannot_take_a_report_is_refused(tmp_path, name, reason):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(FireError, match=reason) as caught:
        check_report_folder(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == ["file"]


def test_the_check_makes_nothing(tmp_path):
    check_report_folder(tmp_path / "report")
    assert names_in(tmp_path) == []


def figures(share):
    return Figures((share, share), (1, 0), (0, share), None, (0, 1), target=0, counts=(400, 400))


@pytest.mark.parametrize("length", [1, 90])
@pytest.mark.parametrize("layers", [1, 16])
@pytest.mark.parametrize("form", ["gated", "shift"])
@pytest.mark.slow
def test_nothing_is_cut_off_however_long_the_names(tmp_path, form, layers, length):
    record, _ = calibrated(tmp_path, "vector", form=form)
    choice = record.choice
    prefix = "W" * length
    points = [
        Point(s, figures(0.5), figures(1.0) if choice.detector else None)
        for s in sorted({0.0, 1.0, 2.0, choice.repair.strength})
    ]
    auc = {"mean_projection": 1.0, "whitened_from_target": None} | (
        {choice.detector[0]: 0.4} if choice.detector else {}
    )
    named = [choice.repair.layer] + ([choice.detector[1]] if choice.detector else [])
    names = dict.fromkeys([*named, *(f"{prefix}.{i}" for i in range(layers))])
    sweeps = [LayerSweep(name, auc, points) for name in names]
    assert_nothing_is_cut_off(draw(sweeps, choice, "Net" * length, "0 " + "cat" * length))
