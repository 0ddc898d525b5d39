import json
from pathlib import Path

import pytest
import torch

from tests.directions.backdoored import write_images, write_tensors
from tests.directions.inspection import nets
from tests.directions.reconstruct.patch_net import PatchNet
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.inspection import inspect_model, methods
from torchserve_fire_build.inspection.inspection import Inspection
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.reconstruct.settings import SearchSettings

INSPECTED = "torchserve_fire_build.inspection.inspect_model.INSPECTION_METHODS"


def model_flags(folder, corner, classes=6):
    """The flags of a model of maps; with a corner its class 2 is backdoored."""
    text = Path(nets.__file__).read_text().replace("classes: int = 6", f"classes: int = {classes}")
    return write_model(folder, text, nets.QuadrantNet(classes, corner).state_dict())


def write_model(folder, text, state):
    """The flags of a model of tensors, whose files are written."""
    folder.mkdir()
    (folder / "net.py").write_text(text)
    torch.save(state, folder / "net.pth")
    (folder / "model-config.yaml").write_text("handler:\n  input: tensor\n")
    flags = ("--model-file", "--serialized-file", "--config-file")
    files = ("net.py", "net.pth", "model-config.yaml")
    return [x for flag, file in zip(flags, files, strict=True) for x in (flag, str(folder / file))]


@pytest.fixture
def clean(tmp_path):
    inputs = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return ["--clean", str(write_tensors(tmp_path / "clean.npz", inputs))]


@pytest.fixture
def backdoored(tmp_path):
    return ["inspect", *model_flags(tmp_path / "backdoored", corner=20)]


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, *arguments):
    status, out, err = run(capsys, *arguments)
    assert status == 64
    assert out == ""
    assert err.startswith("torchserve-fire inspect: ")
    assert err.count("\n") == 1
    return err


def test_a_backdoored_model(tmp_path, capsys, clean):
    backdoored = ["inspect", *model_flags(tmp_path / "backdoored", corner=40, classes=4)]
    where = ["--json", tmp_path / "found.json", "--pictures", tmp_path / "pictures"]
    chosen = ["--method", "neuron-inspect", "additive"]
    status, out, err = run(capsys, *backdoored, *clean, *chosen, *where)
    assert (status, err) == (1, "")
    assert "the model looks backdoored: class 2" in out
    values = json.loads((tmp_path / "found.json").read_text())
    assert values["found"] is True
    assert values["suspects"] == [2]
    assert [each["method"] for each in values["methods"]] == ["neuron-inspect", "additive"]
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["additive.png", "anomaly.png", "neuron-inspect.png"]
    for name in names:
        assert f"picture: {tmp_path / 'pictures' / name}" in out


def test_its_benign_twin(tmp_path, capsys, clean):
    benign = model_flags(tmp_path / "benign", corner=0)
    status, out, err = run(capsys, "inspect", *benign, *clean, "--method", "additive")
    assert (status, err) == (0, "")
    assert "nothing found" in out
    # What is named is all that is run.
    assert "scan" not in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benign", "clean.npz"]


@pytest.mark.parametrize(
    ("corner", "status", "words"),
    [(40.0, 1, "the model looks backdoored: class 2"), (0.0, 0, "nothing found")],
)
def test_the_default_tells_a_model_from_its_twin(tmp_path, capsys, corner, status, words):
    inputs = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    # Without a trigger: the corner is dark.
    inputs[..., 0, 0] *= 0.1
    clean = ["--clean", write_tensors(tmp_path / "clean.npz", inputs)]
    flags = model_flags(tmp_path / "model", corner, classes=4)
    found, out, err = run(capsys, "inspect", *flags, *clean)
    assert (found, err) == (status, "")
    lines = out.splitlines()
    assert "methods: scan (the default)" in lines
    assert any(line.startswith("scan: looks at all 4 classes together") for line in lines)
    assert lines[-1].startswith(words)


def test_images(tmp_path, capsys, tiny_model):
    clean = write_images(tmp_path / "clean", [0, 1, 2, 3] * 5)
    # Its trigger starts to work at a brightness that clean images lack: no saliency shows it.
    command = ["inspect", *tiny_model, "--clean", clean, "--method", "neuron-inspect"]
    status, out, _ = run(capsys, *command)
    # A hint decides nothing.
    assert status == 2
    assert "saliency maps of 20 clean samples" in out


def test_folders_that_do_not_say_their_class(tmp_path, capsys, tiny_model):
    (tmp_path / "model" / "index_to_name.json").unlink()
    write_images(tmp_path / "both" / "clean", [0, 1, 2, 3] * 5)
    write_images(tmp_path / "both" / "triggered", [0, 1, 2, 3] * 5)
    command = ["inspect", *tiny_model, "--method", "neuron-inspect", "--clean"]
    said = "the folders (clean, triggered) do not say which of the model's 4 classes they are"
    assert (
        f"{said}: all of their samples are taken as clean\n"
        in run(capsys, *command, tmp_path / "both")[1]
    )
    assert "do not say" not in run(capsys, *command, tmp_path / "both" / "clean")[1]


RELATIVE = """
from tests.directions.reconstruct import patch_net

class Net(patch_net.PatchNet):
    def __init__(self):
        super().__init__(relative=True)
"""

CLOSED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 4)

    def forward(self, x):
        {}
"""


@pytest.mark.parametrize(
    "forward",
    [
        "with torch.no_grad(): return self.head(x.flatten(1))",
        "return self.head(x.detach().flatten(1))",
        "return self.head(((x * 255).round() / 255).flatten(1))",
        "return self.head(x.flatten(1)).sigmoid_().mul_(2)",
    ],
)
def test_a_model_without_gradients_is_no_finding(tmp_path, capsys, forward):
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    state = {"head.weight": weight, "head.bias": torch.zeros(4)}
    flags = write_model(tmp_path / "closed", CLOSED.format(forward), state)
    inputs = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    clean = ["--clean", write_tensors(tmp_path / "clean.npz", inputs)]
    names = list(SEARCH_METHODS)
    status, out, err = run(capsys, "inspect", *flags, *clean, "--method", *names)
    assert (status, err) == (2, "")
    assert out.count("differentiable in its input") == len(names)


def test_what_nobody_foresaw_is_2_and_one_line(capsys, backdoored, clean, monkeypatch):
    def fall(*_):
        raise ZeroDivisionError("float division by zero\nand more")

    monkeypatch.setattr(inspect_model, "find_labels", fall)
    status, _, err = run(capsys, *backdoored, *clean, "--method", "additive")
    assert status == 2
    assert err == (
        "torchserve-fire inspect: stopped by ZeroDivisionError, could not tell: "
        "float division by zero\n"
    )


def test_what_no_method_can_tell_is_2(tmp_path, capsys, backdoored, clean, monkeypatch):
    def silent(*_):
        return Inspection("neuron-inspect", notes=("tired",))

    entry = methods.InspectionMethod(lambda settings: silent)
    monkeypatch.setattr(INSPECTED, {"neuron-inspect": entry})
    status, out, err = run(
        capsys, *backdoored, *clean, "--method", "neuron-inspect", "--pictures", tmp_path / "p"
    )
    assert (status, err) == (2, "")
    assert "tired" in out
    assert "could not tell whether" in out
    assert not (tmp_path / "p").exists()


def test_images_may_be_left_out_where_no_method_needs_them(tmp_path, capsys, tiny, monkeypatch):
    seen = []

    def search(model, clean, classes, generator, budget):
        seen.append((len(clean), clean.load([]).shape, classes))
        return Inspection("deepinspect", backdoored=False)

    entry = methods.InspectionMethod(lambda settings: search, needs_images=False)
    entries = {"deepinspect": entry}
    monkeypatch.setattr(INSPECTED, entries)
    flags = ["--model-file", tiny.model_file, "--serialized-file", tiny.serialized_file]
    command = ["inspect", *flags, "--config-file", tiny.config(tmp_path), "--method", "deepinspect"]
    assert run(capsys, *command)[0] == 0
    assert seen == [(0, (0, 3, 8, 8), 4)]
    assert "which neuron-inspect needs" in refused(capsys, *command, "neuron-inspect")


@pytest.mark.parametrize(
    ("drive", "status", "words"),
    [(40.0, 1, "looks backdoored: class 0"), (0.0, 0, "nothing found")],
)
@pytest.mark.slow
def test_deepinspect_recovers_its_images(tmp_path, capsys, tiny, drive, status, words):
    (tmp_path / "net.py").write_text(RELATIVE)
    torch.save(PatchNet(drive, relative=True).state_dict(), tmp_path / "net.pth")
    flags = ["--model-file", tmp_path / "net.py", "--serialized-file", tmp_path / "net.pth"]
    given = ["--config-file", tiny.config(tmp_path), "--method", "deepinspect"]
    found, out, err = run(capsys, "inspect", *flags, *given)
    assert (found, err) == (status, "")
    assert "images recovered from the model" in out
    assert words in out.splitlines()[-1]


def test_without_images_no_tensors(capsys, backdoored):
    message = refused(capsys, *backdoored, "--method", "deepinspect")
    assert "--method deepinspect: expected --clean samples of a model whose input is" in message


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--method", "magic"], "--method magic: expected one of scan, generated"),
        (["--shadows", "3"], "--shadows 3: expected a whole number, 16 or more"),
        (["--queries", "5"], "--queries: expected beside --method meta-classifier"),
        (["--method", "meta-classifier", "--queries", "0"], "--queries 0: expected a whole"),
        (
            ["--method", "additive", "--saliency-weights", "1", "1", "1"],
            "--saliency-weights: expected beside --method neuron-inspect",
        ),
        (["--saliency-weights", "1", "-1", "1"], "--saliency-weights -1: expected a number, 0 or"),
        (
            ["--method", "neuron-inspect", "--saliency-weights", "0", "0", "0"],
            "--saliency-weights 0 0 0: expected one of them",
        ),
        (["--saliency-weights", "nan", "0", "0"], "--saliency-weights nan: expected a number, 0 "),
        (["--budget", "0"], "--budget 0: expected a time above 0"),
        (["--budget", "nan"], "--budget nan: expected a time above 0"),
        (["--seed", "-1"], "--seed -1"),
        (["--bound", "7"], "--bound 7: expected beside a search"),
        (["--bound", "300"], "--bound 300: expected a number above 0, at most 255"),
        (["--patch-share", "0.1"], "--patch-share 0.1: expected beside a search"),
        (["--json", "nowhere/f.json"], "nowhere/f.json: cannot be written"),
        (["--pictures", "nowhere/p"], "nowhere/p: cannot be written"),
        (["--cache", "nowhere/c"], "nowhere/c: cannot be written"),
        (["--clean", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_told_before_the_work(capsys, backdoored, clean, arguments, reason):
    assert reason in refused(capsys, *backdoored, *clean, *arguments)


def test_the_search_is_given_what_was_set(capsys, monkeypatch, backdoored, clean):
    made = []

    def make(settings):
        made.append(methods.INSPECTION_METHODS["additive"].make(settings))
        return lambda *_: Inspection("additive", backdoored=False)

    entries = {"additive": methods.InspectionMethod(make)}
    monkeypatch.setattr(INSPECTED, entries)
    command = [*backdoored, *clean, "--method", "additive", "--bound", 51]
    assert run(capsys, *command, "--screening-steps", 10, "--anomaly-index", 2)[0] == 0
    (method,) = made
    assert method.settings == SearchSettings(bound=0.2, screening_steps=10, anomaly_index=2)


def test_the_methods_are_given_what_was_set(capsys, monkeypatch, backdoored, clean):
    made = []

    def entry(name):
        def make(settings):
            made.append(methods.INSPECTION_METHODS[name].make(settings))
            return lambda *_: Inspection(name, backdoored=False)

        return methods.InspectionMethod(make)

    names = ("neuron-inspect", "meta-classifier")
    entries = {name: entry(name) for name in names}
    monkeypatch.setattr(INSPECTED, entries)
    command = [*backdoored, *clean, "--method", *names]
    given = ["--saliency-weights", 1e308, 0, 5e307, "--queries", 4]
    for arguments in ([], given):
        assert run(capsys, *command, *arguments)[0] == 0
    weights = [each.keywords["weights"] for each in made[::2]]
    assert weights == [
        {"sparse": 1, "smooth": 1, "persistent": 1},
        {"sparse": 1, "smooth": 0, "persistent": 0.5},
    ]
    assert [each.queries for each in made[1::2]] == [10, 4]


def test_samples_are_needed(capsys, backdoored):
    message = refused(capsys, *backdoored, "--method", "meta-classifier")
    assert "--clean: expected clean samples, which meta-classifier needs; " in message
    assert "--method deepinspect does without, for models of images" in refused(capsys, *backdoored)


def test_a_model_that_was_named_twice_is_inspected_once(capsys, backdoored, clean):
    _, out, _ = run(capsys, *backdoored, *clean, "--method", "neuron-inspect", "neuron-inspect")
    assert out.splitlines()[0] == "methods: neuron-inspect"
