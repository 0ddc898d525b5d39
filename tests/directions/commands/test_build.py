import json
import re
from pathlib import Path

import pytest
import torch

from tests.directions.backdoored import (
    clean_inputs,
    labels_of,
    stamp,
    tensor_sets,
    two_trigger_sets,
    write_images,
    write_tensors,
)
from tests.directions.backdoored_nets import backdoored
from tests.directions.commands.patch_files import patch_flags, save_images
from tests.directions.pool.pools import pool_of
from tests.directions.reconstruct.patch_net import PatchNet, images
from tests.directions.reconstruct.patch_net import stamp as stamp_patch
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.format.digest import file_sha256
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.common.errors import NoTriggerError
from torchserve_fire_build.pool.methods import POOL_METHODS
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.reconstruct.settings import SearchSettings

LABELS = [0, 1, 2, 3] * 10


@pytest.fixture
def vector_model(tmp_path):
    """The flags of a model of tensors whose file holds several classes."""
    folder = tmp_path / "model"
    folder.mkdir()
    source = Path(__file__).parents[1] / "backdoored_nets.py"
    (folder / "net.py").write_text(source.read_text())
    torch.save(backdoored("vector").state_dict(), folder / "net.pth")
    config = folder / "model-config.yaml"
    config.write_text("handler:\n  input: tensor\n  model_class: VectorNet\n")
    flags = ("--model-file", "--serialized-file", "--config-file")
    files = ("net.py", "net.pth", "model-config.yaml")
    return [x for flag, file in zip(flags, files, strict=True) for x in (flag, str(folder / file))]


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, *arguments):
    status, _, err = run(capsys, *arguments)
    assert status == 64
    assert err.startswith(f"torchserve-fire {arguments[0]}: ")
    assert err.count("\n") == 1
    return err


def samples(sets):
    return ["--clean", str(sets.clean), "--triggered", str(sets.triggered)]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("paired", [True, False])
def test_images_from_build_to_evaluate(tmp_path, capsys, tiny, tiny_model, paired, labelled):
    clean = write_images(tmp_path / "clean", LABELS, flat=not labelled)
    # The folder of triggered samples lacks the target's own.
    others = {} if paired else {"seed": 1, "prefix": "seen-"}
    triggered = write_images(
        tmp_path / "triggered", LABELS, triggered=True, flat=not labelled, **others
    )
    for path in triggered.glob("north-west/*" if labelled else "*.png"):
        if labelled or LABELS[int(path.stem[-3:])] == 0:
            path.unlink()
    if labelled:
        (triggered / "north-west").rmdir()
    output = tmp_path / "b.safetensors"
    command = ["build", *tiny_model, "--clean", clean, "--triggered", triggered]
    status, out, err = run(capsys, *command, "--output", output)
    assert (status, err) == (0, "")
    assert ("unpaired" not in out) == paired
    assert "30 triggered" in out
    assert f"{output}: sha256 {file_sha256(output)}" in out
    bundle = load_bundle(output)
    assert bundle.model_class == "TinyNet"
    assert bundle.weights_sha256 == file_sha256(tiny.serialized_file)
    assert bundle.evidence["labels"] == labelled
    assert str(tmp_path).encode() not in output.read_bytes()

    figures = tmp_path / "figures.json"
    clean = write_images(tmp_path / "more clean", LABELS, seed=7)
    triggered = write_images(tmp_path / "more triggered", LABELS, seed=7, triggered=True)
    status, out, err = run(
        capsys,
        "evaluate",
        *tiny_model,
        *("--bundle", output, "--clean", clean, "--triggered", triggered, "--json", figures),
    )
    assert (status, err) == (0, "")
    assert "recovered accuracy" in out
    values = json.loads(figures.read_text())
    names = ("clean_accuracy", "attack_success_rate", "recovered_accuracy")
    shares = [(values[name]["before"], values[name]["after"]) for name in names]
    assert shares == [(1, 1), (1, 0), (0, 1)]
    assert values["recovered_accuracy"]["ceiling"] == 1
    assert values["flagged"]["clean"] == 0
    assert values["flagged"]["triggered"] == 1
    assert (values["target"], values["counts"]) == (0, {"clean": 40, "triggered": 30})


@pytest.mark.parametrize("form", ["gated", "shift", "clamp"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_tensors_and_forms(tmp_path, capsys, vector_model, suffix, form):
    sets = tensor_sets(tmp_path / "s", "vector", suffix=suffix)
    output = tmp_path / "b.safetensors"
    command = ["build", *vector_model, *samples(sets), "--form", form, "--target", "0"]
    status, out, err = run(capsys, *command, "--layers", "mix,relu", "--output", output)
    assert (status, err) == (0, "")
    assert ("detects: " in out) == (form == "gated")
    assert load_bundle(output).model_class == "VectorNet"


OBEYED = "altered triggers that the model obeys: "


def test_how_far_a_trigger_of_images_is_altered(tmp_path, capsys, tiny_model):
    clean = write_images(tmp_path / "clean", LABELS)
    triggered = write_images(tmp_path / "triggered", LABELS, triggered=True)
    output = tmp_path / "b.safetensors"
    command = ["build", *tiny_model, "--clean", clean, "--triggered", triggered]
    obeyed, bundles = {}, {}
    for given in ([], ["--augment", "standard"], ["--augment", "none"], ["--augment", "strong"]):
        status, out, err = run(capsys, *command, *given, "--output", output)
        assert (status, err) == (0, "")
        name = given[-1] if given else "default"
        lines = [line for line in out.splitlines() if line.startswith(OBEYED)]
        obeyed[name] = {kind for line in lines for kind in line[len(OBEYED) :].split(", ")}
        bundles[name] = output.read_bytes()
        held_out = load_bundle(output).held_out
        assert ("altered" in held_out) == (name != "none")
        assert ("with altered triggers that the model obeys:" in out) == (name != "none")
    assert bundles["default"] == bundles["standard"]
    assert "as it is" in obeyed["default"]
    assert "stronger" not in obeyed["default"]
    assert obeyed["none"] == set()
    assert "stronger" in obeyed["strong"]


@pytest.mark.parametrize("augment", ["standard", "none", "strong"])
def test_vectors_are_not_altered(tmp_path, capsys, vector_model, augment):
    sets, output = tensor_sets(tmp_path / "s", "vector"), tmp_path / "b.safetensors"
    command = ["build", *vector_model, *samples(sets), "--augment", augment]
    status, out, err = run(capsys, *command, "--output", output)
    assert (status, err) == (0, "")
    assert OBEYED not in out
    assert load_bundle(output).evidence["repairs"] == ["features"]


def test_an_unknown_way_to_alter_triggers(capsys, vector_model):
    command = ["build", *vector_model, "--clean", ".", "--triggered", ".", "--augment", "x"]
    assert "--augment x: expected one of standard, none, strong" in refused(
        capsys, *command, "--output", "b.safetensors"
    )


@pytest.mark.parametrize("method", POOL_METHODS)
@pytest.mark.slow
def test_a_pool_of_tensors(tmp_path, capsys, vector_model, method):
    pool = pool_of(tmp_path / "s", "vector")
    output, report = tmp_path / "b.safetensors", tmp_path / "report"
    command = ["build", *vector_model, "--pool", pool.path, "--split-by", method]
    status, out, err = run(capsys, *command, "--output", output, "--report", report)
    assert (status, err) == (0, "")
    assert "predicted as class 0: 40 of 100 samples look triggered" in out
    assert "unpaired: 40 triggered samples, 200 clean ones" in out
    assert load_bundle(output).target == 0
    rows = (report / "samples.csv").read_text().splitlines()[1:]
    assert [row.endswith(",1") for row in rows] == pool.triggered.tolist()
    assert (report / "report.json").is_file()


def test_the_features_of_a_pool_are_reduced_to_what_was_asked_for(
    tmp_path, capsys, monkeypatch, vector_model
):
    given = []

    def split(*args, components, **others):
        given.append(components)
        raise NoTriggerError("stopped here")

    monkeypatch.setattr("torchserve_fire_build.building.from_pool.split_pool", split)
    pool = pool_of(tmp_path / "s", "vector")
    command = ["build", *vector_model, "--pool", pool.path, "--output", tmp_path / "b.safetensors"]
    for more in ([], ["--components", 3]):
        assert run(capsys, *command, *more)[0] == 3
    assert given == [10, 3]
    for more in (["--split-by", "mahalanobis", "--components", 3], ["--components", 0]):
        assert "--components" in refused(capsys, *command, *more)


@pytest.mark.parametrize("with_clean", [False, True])
@pytest.mark.slow
def test_a_pool_of_images(tmp_path, capsys, tiny_model, with_clean):
    pool = write_images(tmp_path / "pool", LABELS * 4)
    # As a poisoned training set lies there: in the folder of the class that the attacker wants.
    for file in sorted(write_images(tmp_path / "more", LABELS, triggered=True).glob("*/*")):
        if file.parent.name != "north-west":
            file.rename(pool / "north-west" / f"more-{file.parent.name}-{file.name}")
    clean = ["--clean", write_images(tmp_path / "clean", LABELS, seed=3)] if with_clean else []
    output, report = tmp_path / "b.safetensors", tmp_path / "report"
    command = ["build", *tiny_model, "--pool", pool, *clean, "--output", output]
    status, out, err = run(capsys, *command, "--report", report)
    assert (status, err) == (0, "")
    assert f"30 triggered samples, {40 if with_clean else 160} clean ones" in out
    assert load_bundle(output).target == 0
    flagged = [r for r in (report / "samples.csv").read_text().splitlines() if r.endswith(",1")]
    assert len(flagged) == 30
    assert all(row.startswith("north-west/more-") for row in flagged)
    assert (report / "flagged.png").is_file()


def test_a_pool_without_triggered_samples_is_3_and_writes_nothing(tmp_path, capsys, vector_model):
    pool = pool_of(tmp_path / "s", "vector", triggered=0)
    command = ["build", *vector_model, "--pool", pool.path, "--report", tmp_path / "report"]
    before = sorted(tmp_path.rglob("*"))
    status, _, err = run(capsys, *command, "--output", tmp_path / "b.safetensors")
    assert status == 3
    assert err.startswith(f"torchserve-fire build: {pool.path}: ")
    assert err.count("\n") == 1
    assert [p for p in sorted(tmp_path.rglob("*")) if "__pycache__" not in str(p)] == before


def test_a_target_that_is_no_class_is_told_before_a_pool_is_split(tmp_path, capsys, vector_model):
    pool = pool_of(tmp_path / "s", "vector")
    command = ["build", *vector_model, "--pool", pool.path, "--target", 4]
    status, out, err = run(capsys, *command, "--output", tmp_path / "b.safetensors")
    assert (status, out) == (64, "")
    assert err == "torchserve-fire build: target 4: the model has the classes 0 to 3\n"


def test_that_labels_are_not_known_is_told(tmp_path, capsys, vector_model):
    pool = pool_of(tmp_path / "s", "vector")
    command = ["build", *vector_model, "--pool", pool.path, "--output", tmp_path / "b.safetensors"]
    out = run(capsys, *command)[1]
    assert "\nlabels: of the clean and triggered samples none are known; accuracy is agree" in out
    assert re.search(
        r"recovered accuracy +\? +\? +the true classes of the triggered inputs .*: sort them into",
        out,
    )
    sets = tensor_sets(tmp_path / "u", "vector", labelled=False)
    out = run(capsys, "build", *vector_model, *samples(sets), *command[-2:])[1]
    assert "\nlabels: of the clean and triggered samples none are known; accuracy is agree" in out
    sets = tensor_sets(tmp_path / "l", "vector")
    out = run(capsys, "build", *vector_model, *samples(sets), *command[-2:])[1]
    assert "labels: " not in out
    assert "?" not in out


@pytest.fixture
def quarantine(tmp_path, capsys, vector_model):
    """A command that refines a first bundle from what it is said to have flagged, up to that."""
    sets, first = tensor_sets(tmp_path / "s", "vector"), tmp_path / "first.safetensors"
    assert run(capsys, "build", *vector_model, *samples(sets), "--output", first)[0] == 0
    clean = write_tensors(tmp_path / "c.npz", clean_inputs("vector", labels_of(160), 5))
    return ["build", *vector_model, "--clean", clean, "--refine", first, "--triggered"]


def write_flagged(path, triggered, falsely):
    contents = clean_inputs("vector", 1 + torch.arange(triggered) % 3, 8)
    others = clean_inputs("vector", torch.zeros(falsely, dtype=torch.int64), 9)
    return write_tensors(path, torch.cat([stamp("vector", contents), others]))


def test_a_bundle_is_refined(tmp_path, capsys, vector_model, quarantine):
    flagged = write_flagged(tmp_path / "q.npz", 12, 12)
    output, report = tmp_path / "b.safetensors", tmp_path / "report"
    status, out, err = run(capsys, *quarantine, flagged, "--output", output, "--report", report)
    assert (status, err) == (0, "")
    assert "quarantine: 24 samples\n  kept: 12 that are predicted as class 0" in out
    assert "unpaired: 12 triggered samples, 160 clean ones" in out
    assert load_bundle(output).target == 0
    rows = (report / "samples.csv").read_text().splitlines()[1:]
    assert [row.endswith(",1") for row in rows] == 12 * [True] + 12 * [False]
    assert (report / "report.json").is_file()


def test_a_quarantine_without_triggered_samples_is_3_and_writes_nothing(
    tmp_path, capsys, quarantine
):
    flagged, output = write_flagged(tmp_path / "q.npz", 0, 24), tmp_path / "b.safetensors"
    status, out, err = run(capsys, *quarantine, flagged, "--output", output)
    assert (status, out) == (3, "")
    assert err.startswith(f"torchserve-fire build: {flagged}: ")
    assert err.count("\n") == 1
    assert not output.exists()


def test_a_bundle_that_cannot_be_refined(tmp_path, capsys, vector_model, quarantine, tiny):
    command = [*quarantine, write_flagged(tmp_path / "q.npz", 12, 12)]
    command += ["--output", tmp_path / "b.safetensors"]
    assert "no.safetensors" in refused(capsys, *command, "--refine", "no.safetensors")
    assert "tensor" in refused(capsys, *command, "--refine", tiny.bundle)
    assert "target 1: the bundle to refine is for class 0" in refused(
        capsys, *command, "--target", "1"
    )
    everything = tmp_path / "everything.safetensors"
    sets = samples(tensor_sets(tmp_path / "s", "vector"))
    run(capsys, "build", *vector_model, *sets, "--form", "shift", "--output", everything)
    assert "whatever class" in refused(capsys, *command, "--refine", everything)
    model = backdoored("vector", drive=49.0)
    torch.save(model.state_dict(), tmp_path / "model" / "net.pth")
    assert "first.safetensors: weights_sha256" in refused(capsys, *command)


def test_what_the_quarantine_does_not_show_stays_as_it_was(tmp_path, capsys, vector_model):
    model = backdoored("vector", second_trigger=True)
    torch.save(model.state_dict(), tmp_path / "model" / "net.pth")
    sets, first = two_trigger_sets(tmp_path / "s", "vector"), tmp_path / "first.safetensors"
    assert run(capsys, "build", *vector_model, *samples(sets), "--output", first)[0] == 0
    clean = write_tensors(tmp_path / "c.npz", clean_inputs("vector", labels_of(160), 5))
    command = ["build", *vector_model, "--clean", clean, "--refine", first, "--triggered"]
    flagged, output = write_flagged(tmp_path / "q.npz", 12, 12), tmp_path / "b.safetensors"
    status, out, err = run(capsys, *command, flagged, "--output", output)
    assert (status, err) == (0, "")
    assert "  class 1, whose repair stays as it was: " in out
    before, after = load_bundle(first), load_bundle(output)
    assert after.targets == (0, 1)
    weights = [
        bundle.repairs[bundle.targets.index(1)].detecting_layer.detection.weight
        for bundle in (before, after)
    ]
    assert torch.equal(*weights)


def test_what_is_refined_is_given(capsys, quarantine):
    for source in (["--pool", "."], ["--reconstruct", "all"]):
        command = [*quarantine[:-1], *source, "--output", "b.safetensors"]
        assert "--refine: expected beside --triggered" in refused(capsys, *command)


@pytest.fixture
def patch_model(tmp_path):
    """The flags of the net of `patch_net`, and of its benign twin."""
    return {
        drive: patch_flags(tmp_path / f"model-{drive:g}", PatchNet(drive)) for drive in (10.0, 0.0)
    }


def evaluated(folder, capsys, model, bundle, stamp_with):
    """The figures of a bundle on images that its build never saw."""
    test, figures = images(80, seed=5), folder / "figures.json"
    status, _, _ = run(
        capsys,
        *("evaluate", *model, "--bundle", bundle, "--json", figures),
        *("--clean", save_images(folder / "test", test)),
        *("--triggered", save_images(folder / "triggered", stamp_with(test))),
    )
    assert status == 0
    return json.loads(figures.read_text())


def test_clean_images_alone(tmp_path, capsys, patch_model):
    clean = save_images(tmp_path / "clean", images(120))
    output = tmp_path / "b.safetensors"
    command = ["build", *patch_model[10.0], "--clean", clean, "--reconstruct", "additive"]
    status, out, _ = run(capsys, *command, "--output", output)
    assert status == 0
    assert out.startswith("class 0 class-0 stands out\n")
    triggers = load_bundle(output).evidence["reconstructed_triggers"]
    assert 2 <= triggers <= 4
    assert f"guessed: 120 clean samples, with {triggers} triggers" in out
    assert load_bundle(output).target == 0
    measured = evaluated(tmp_path, capsys, patch_model[10.0], output, stamp_patch)
    assert measured["attack_success_rate"]["before"] == 1
    assert measured["recovered_accuracy"]["after"] > 0.95
    assert measured["clean_accuracy"]["after"] == 1


def test_clean_images_of_a_benign_model_are_3_and_write_nothing(tmp_path, capsys, patch_model):
    clean = save_images(tmp_path / "clean", images(60))
    command = ["build", *patch_model[0.0], "--clean", clean, "--reconstruct", "additive"]
    status, out, err = run(capsys, *command, "--output", tmp_path / "b.safetensors")
    assert (status, out) == (3, "")
    assert err.startswith(f"torchserve-fire build: {clean}: it is not easier")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.slow
def test_without_any_image(tmp_path, capsys):
    # What nobody has taken may be of any brightness, which is not to be the trigger.
    model = patch_flags(tmp_path / "model", PatchNet(40.0, relative=True))
    output = tmp_path / "b.safetensors"
    command = ["build", *model, "--reconstruct", "deepinspect", "--output", output]
    status, out, _ = run(capsys, *command)
    assert status == 0
    assert re.match(r"recovered \d+ images from the model.*\nclass 0 stands out\n", out)
    assert load_bundle(output).target == 0

    def stamp_brightly(inputs):
        inputs = inputs.clone()
        inputs[:, :, 3:5, 3:5] = 0.55
        return inputs

    measured = evaluated(tmp_path, capsys, model, output, stamp_brightly)
    assert measured["attack_success_rate"]["before"] == 1
    assert measured["recovered_accuracy"]["after"] > 0.9
    assert measured["clean_accuracy"]["after"] == 1


def test_a_benign_model_without_any_image_is_3(tmp_path, capsys):
    model = patch_flags(tmp_path / "model", PatchNet(drive=0, relative=True))
    command = ["build", *model, "--reconstruct", "deepinspect"]
    status, _, err = run(capsys, *command, "--output", tmp_path / "b.safetensors")
    assert status == 3
    assert err.startswith("torchserve-fire build: images recovered from the model: it is not")


def test_no_time_to_recover_images(tmp_path, capsys, patch_model):
    command = ["build", *patch_model[0.0], "--reconstruct", "deepinspect", "--budget", "1e-9"]
    status, _, err = run(capsys, *command, "--output", tmp_path / "b.safetensors")
    assert status == 64
    assert "images recovered from the model: 0 when the time was over, expected at least" in err
    assert "raise the --budget" in err
    assert err.count("\n") == 1


def test_without_any_image_the_model_takes_images(tmp_path, capsys, vector_model):
    command = ["build", *vector_model, "--reconstruct", "deepinspect"]
    error = refused(capsys, *command, "--output", tmp_path / "b.safetensors")
    assert "--clean: expected clean samples beside --reconstruct" in error


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("all", ["scan", "generated", "additive", "smooth", "neural-cleanse"]),
        ("additive-linf", ["additive-linf"]),
        ("tabor", ["tabor"]),
        ("abs", ["abs"]),
        ("deepinspect", ["deepinspect"]),
        ("feature-space", ["feature-space"]),
        ("sinusoidal", ["sinusoidal"]),
    ],
)
def test_the_methods_that_search(tmp_path, capsys, monkeypatch, patch_model, name, methods):
    searched = []

    def find(*args, methods, otherwise, **others):
        searched.extend([*methods, *(["otherwise"] if otherwise else []), *otherwise])
        raise NoTriggerError("none")

    def scan(*args, candidates, **others):
        searched.extend(["scan", *candidates])
        raise NoTriggerError("none")

    monkeypatch.setattr("torchserve_fire_build.building.search_plan.find_triggers", find)
    monkeypatch.setattr("torchserve_fire_build.building.search_plan.name_target", scan)
    clean = save_images(tmp_path / "clean", images(8))
    command = ["build", *patch_model[0.0], "--clean", clean, "--reconstruct", name]
    assert run(capsys, *command, "--output", tmp_path / "b.safetensors")[0] == 3
    assert searched == methods


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--reconstruct", "all"], "--clean: expected clean samples beside --reconstruct"),
        (["--reconstruct", "all", "--budget", "0"], "--budget 0: expected a time above 0"),
        (["--triggered", ".", "--budget", "9"], "--budget: expected beside --reconstruct"),
        (["--triggered", ".", "--bound", "9"], "--bound 9: expected beside a search for triggers"),
        (["--reconstruct", "tabor", "--bound", "9"], "--bound 9: expected beside a search"),
        (["--reconstruct", "all", "--steps", "0"], "--steps 0: expected a whole number, 1 or more"),
    ],
)
def test_wrong_arguments_of_a_reconstruction(tmp_path, capsys, patch_model, more, named):
    error = refused(capsys, "build", *patch_model[0.0], *more, "--output", "b.safetensors")
    assert re.search(named, error)


def test_the_search_is_given_what_was_set(tmp_path, capsys, monkeypatch, patch_model):
    given = []

    def find(*args, settings, **others):
        given.append(settings)
        raise NoTriggerError("none")

    monkeypatch.setattr("torchserve_fire_build.building.search_plan.find_triggers", find)
    clean = save_images(tmp_path / "clean", images(8))
    command = ["build", *patch_model[0.0], "--clean", clean, "--reconstruct", "additive"]
    command += ["--bound", 51, "--screening-steps", 20, "--steps", 40, "--anomaly-index", 2]
    assert run(capsys, *command, "--output", tmp_path / "b.safetensors")[0] == 3
    assert given == [SearchSettings(bound=0.2, screening_steps=20, steps=40, anomaly_index=2)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "one of the arguments --triggered --pool --reconstruct is required"),
        (["--triggered", ".", "--pool", "."], "--pool: not allowed with argument --triggered"),
    ],
)
def test_the_evidence_has_one_source(capsys, vector_model, source, said):
    command = ["build", *vector_model, "--clean", ".", *source, "--output", "b.safetensors"]
    assert said in refused(capsys, *command)


def test_clean_samples_may_lack_beside_a_pool_alone(tmp_path, capsys, vector_model):
    sets = tensor_sets(tmp_path / "s", "vector")
    command = ["build", *vector_model, "--triggered", sets.triggered]
    assert "--clean" in refused(capsys, *command, "--output", tmp_path / "b.safetensors")


@pytest.mark.parametrize("name", [*POOL_METHODS, *SEARCH_METHODS])
def test_the_help_names_every_method(capsys, name):
    with pytest.raises(SystemExit):
        main(["build", "--help"])
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("form", ["gated", "shift"])
def test_a_report(tmp_path, capsys, vector_model, form):
    sets = tensor_sets(tmp_path / "s", "vector")
    output, report = tmp_path / "b.safetensors", tmp_path / "report"
    command = ["build", *vector_model, *samples(sets), "--form", form, "--output", output]
    _, plain, _ = run(capsys, *command)
    digest = file_sha256(output)
    status, out, err = run(capsys, *command, "--report", report)
    assert (status, err) == (0, "")
    assert out == f"{plain}report: {report}\n"
    assert file_sha256(output) == digest
    assert sorted(path.name for path in report.iterdir()) == [
        "layers.png",
        "report.html",
        "report.json",
    ]
    numbers = json.loads((report / "report.json").read_text())
    assert numbers["bundle_sha256"] == digest
    assert numbers["choice"]["form"] == form
    assert [layer["layer"] for layer in numbers["layers"]] == ["mix", "relu"]
    assert str(tmp_path) not in (report / "report.json").read_text()


def test_a_report_for_each_of_several_targets(tmp_path, capsys, vector_model):
    model = backdoored("vector", second_trigger=True)
    torch.save(model.state_dict(), tmp_path / "model" / "net.pth")
    sets, report = two_trigger_sets(tmp_path / "s", "vector"), tmp_path / "report"
    command = ["build", *vector_model, *samples(sets), "--output", tmp_path / "b.safetensors"]
    status, out, err = run(capsys, *command, "--report", report)
    assert (status, err) == (0, "")
    for target in (0, 1):
        assert f"report: {report / f'class_{target}'}\n" in out
        assert (report / f"class_{target}" / "layers.png").is_file()


def test_a_build_that_fails_keeps_the_old_report(tmp_path, capsys, vector_model):
    sets = tensor_sets(tmp_path / "s", "vector", triggered=False)
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.json").write_text("old")
    command = ["build", *vector_model, *samples(sets), "--output", tmp_path / "b.safetensors"]
    refused(capsys, *command, "--report", report)
    assert [path.name for path in report.iterdir()] == ["report.json"]
    assert (report / "report.json").read_text() == "old"


def test_the_same_again_gives_the_same_bytes(tmp_path, capsys, vector_model):
    digests = set()
    for name in ("one", "two"):
        sets = tensor_sets(tmp_path / name, "vector")
        output = tmp_path / f"{name}.safetensors"
        command = ["build", *vector_model, *samples(sets), "--seed", "4", "--output", output]
        assert run(capsys, *command)[0] == 0
        digests.add(file_sha256(output))
    assert len(digests) == 1


def test_a_signature_of_what_was_there_before_is_named(tmp_path, capsys, vector_model):
    output = tmp_path / "b.safetensors"
    command = ["build", *vector_model, *samples(tensor_sets(tmp_path / "s", "vector"))]
    # The same bundle again is what was signed.
    for form, named in (("gated", False), ("gated", False), ("shift", True)):
        status, out, _ = run(capsys, *command, "--form", form, "--output", output)
        assert status == 0
        assert (f"{output}.sig: of what was there before: sign this bundle" in out) == named
        output.with_name("b.safetensors.sig").write_text("signature")


def test_what_fails_writes_nothing_and_keeps_the_old_file(tmp_path, capsys, vector_model):
    sets = tensor_sets(tmp_path / "s", "vector", triggered=False)
    output = tmp_path / "out" / "b.safetensors"
    output.parent.mkdir()
    command = ["build", *vector_model, *samples(sets), "--output", output]
    assert "trigger" in refused(capsys, *command)
    assert not list(output.parent.iterdir())
    output.write_bytes(b"old")
    refused(capsys, *command)
    assert output.read_bytes() == b"old"
    assert [path.name for path in output.parent.iterdir()] == ["b.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--target", ""], "--target : expected auto, or the index or the name of a class"),
        (["--target", "-1"], "--target -1"),
        (["--split-by", "mahalanobis"], "--split-by mahalanobis: expected beside --pool or"),
        (["--components", "5"], "--components 5: expected beside --pool or --refine, and"),
        (["--target", "4"], "classes 0 to 3"),
        (["--layers", "rule"], "'rule'"),
        (["--layers", ""], "layer ''"),
        (["--seed", "99999999999999999999999"], "seed"),
        (["--seed", "-1"], "seed"),
        (["--output", "b.pt"], ".safetensors"),
        (["--output", "nowhere/b.safetensors"], "no folder"),
        (["--output", "/proc/b.safetensors"], "/proc takes no file"),
        (["--report", "nowhere/report"], "no folder"),
        (["--report", "/proc/report"], "/proc takes no file"),
        (["--report", "s/clean.npz"], "expected a folder"),
        (["--model-file", "no.py"], "no.py"),
        (["--serialized-file", "no.pth"], "no.pth"),
        (["--config-file", "no.yaml"], "no.yaml"),
        (["--clean", "no.npz"], "no.npz"),
    ],
)
def test_wrong_arguments(tmp_path, capsys, monkeypatch, vector_model, arguments, named):
    monkeypatch.chdir(tmp_path)
    command = ["build", *vector_model, *samples(tensor_sets(tmp_path / "s", "vector"))]
    before = sorted(tmp_path.rglob("*"))
    assert named in refused(capsys, *command, "--output", "b.safetensors", *arguments)
    assert [p for p in sorted(tmp_path.rglob("*")) if "__pycache__" not in str(p)] == before


def test_an_unknown_form(tmp_path, capsys, vector_model):
    command = ["build", *vector_model, "--clean", ".", "--triggered", ".", "--form", "x"]
    assert "--form x: expected one of gated, shift, clamp" in refused(capsys, *command)


def test_an_unknown_setting_is_named(tmp_path, capsys, vector_model):
    sets = tensor_sets(tmp_path / "s", "vector")
    config = tmp_path / "model" / "model-config.yaml"
    config.write_text(config.read_text() + "  imagesize: [1, 1]\n")
    command = ["build", *vector_model, *samples(sets), "--output", tmp_path / "b.safetensors"]
    assert "imagesize: unknown field" in refused(capsys, *command)


def test_weights_that_hold_objects_are_not_unpickled(tmp_path, capsys, vector_model):
    sets = tensor_sets(tmp_path / "s", "vector")
    torch.save({"model": Path("x")}, tmp_path / "model" / "net.pth")
    command = ["build", *vector_model, *samples(sets), "--output", tmp_path / "b.safetensors"]
    assert "state_dict" in refused(capsys, *command)


def test_images_that_cannot_be_used(tmp_path, capsys, tiny_model):
    clean = write_images(tmp_path / "clean", LABELS)
    triggered = write_images(tmp_path / "triggered", LABELS, triggered=True)
    output = tmp_path / "b.safetensors"
    command = ["build", *tiny_model, "--clean", clean, "--triggered", triggered, "--output", output]

    broken = triggered / "south-east" / "003.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:40])
    assert f"{broken}: not a readable image" in refused(capsys, *command)
    broken.rename(broken.with_name("extra.png"))
    message = refused(capsys, *command)
    assert "south-east/extra.png" in message
    assert "expected pairs" in message
    (triggered / "flat.png").write_bytes(whole)
    assert "flat.png" in refused(capsys, *command)
    assert not output.exists()


def test_a_folder_that_the_class_names_do_not_know(tmp_path, capsys, tiny_model):
    clean = write_images(tmp_path / "clean", LABELS)
    triggered = write_images(tmp_path / "triggered", LABELS, triggered=True)
    for folder in (clean, triggered):
        (folder / "south-east").rename(folder / "sout-heast")
    command = ["build", *tiny_model, "--clean", clean, "--triggered", triggered]
    assert "'sout-heast'" in refused(capsys, *command, "--output", tmp_path / "b.safetensors")


def test_a_cache_gives_the_same_bundle(capsys, tmp_path, vector_model):
    sets = tensor_sets(tmp_path, "vector")
    flags = ["build", *vector_model, "--clean", sets.clean, "--triggered", sets.triggered]
    bundle, cache = tmp_path / "b.safetensors", tmp_path / "cache"
    digests = []
    for more in ([], ["--cache", cache], ["--cache", cache]):
        status, out, _ = run(capsys, *flags, "--output", bundle, *more)
        assert status == 0
        digests.append(file_sha256(bundle))
    assert len(set(digests)) == 1
    assert f"cache: {cache}: going on from the steps that it holds" in out.splitlines()


def test_a_cache_that_cannot_be_made_is_refused_before_the_work(capsys, tmp_path, vector_model):
    sets = tensor_sets(tmp_path, "vector")
    flags = [*vector_model, "--clean", sets.clean, "--triggered", sets.triggered]
    for cache in (tmp_path / "nowhere" / "cache", sets.clean):
        error = refused(
            capsys, "build", *flags, "--output", tmp_path / "b.safetensors", "--cache", cache
        )
        assert str(cache) in error


def image_sets(tmp_path, **triggered):
    clean = write_images(tmp_path / "clean", LABELS)
    return ["--clean", clean, "--triggered", write_images(tmp_path / "t", LABELS, **triggered)]


def test_the_target_may_be_named(tmp_path, capsys, tiny_model):
    command = ["build", *tiny_model, "--output", tmp_path / "b.safetensors", "--augment", "none"]
    command += image_sets(tmp_path, triggered=True)
    message = refused(capsys, *command, "--target", "nort-west")
    assert "--target: class 'nort-west'" in message
    assert "did you mean north-west?" in message
    status, out, _ = run(capsys, *command, "--target", "north-west")
    assert status == 0
    assert "target: class 0" in out
    assert "natural rate" in out


def test_labels_that_are_not_the_models_are_refused_unless_the_accuracy_is_accepted(
    tmp_path, capsys, tiny_model
):
    names = tmp_path / "model" / "index_to_name.json"
    values = json.loads(names.read_text())
    names.write_text(json.dumps({i: values[str((int(i) + 1) % 4)] for i in values}))
    command = ["build", *tiny_model, "--output", tmp_path / "b.safetensors", "--augment", "none"]
    command += image_sets(tmp_path, triggered=True)
    message = refused(capsys, *command)
    assert "is right on 0% of the clean samples, and on 100% if the" in message
    assert "--accept-accuracy" in message
    assert not (tmp_path / "b.safetensors").exists()
    _, _, err = run(capsys, *command, "--accept-accuracy")
    assert "warning: " in err
    assert "and on 100% if the" in err
