import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from tests.directions.backdoored import write_images, write_tensors
from tests.directions.commands.patch_files import patch_flags, save_images
from tests.directions.reconstruct.patch_net import PatchNet, images, stamp
from tests.tiny_net import trained
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.model.checkpoint import read_checkpoint
from torchserve_fire.model.load_model import load_model
from torchserve_fire_build.building.name_target import NamedTarget
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.reconstruct.find_triggers import FoundTriggers
from torchserve_fire_build.reconstruct.reconstruction import Reconstruction

LABELS = [0, 1, 2, 3] * 10


@pytest.fixture
def command(tmp_path, tiny_model):
    """A whole command line that prunes; a flag that is given again replaces the first."""
    clean = write_images(tmp_path / "clean", LABELS)
    test = write_images(tmp_path / "test-clean", LABELS, seed=7)
    triggered = write_images(tmp_path / "test-triggered", LABELS, seed=7, triggered=True)
    return [
        *("sanitize", "--method", "prune", *tiny_model),
        *("--clean", str(clean), "--test-clean", str(test), "--test-triggered", str(triggered)),
        *("--output", str(tmp_path / "new.pth")),
    ]


@pytest.fixture
def linear_bundle(tmp_path, tiny_model, command):
    """A bundle at a layer that weights write."""
    triggered = write_images(tmp_path / "triggered", LABELS, triggered=True)
    bundle = tmp_path / "linear.safetensors"
    assert (
        main(
            [
                *("build", *tiny_model, "--clean", str(tmp_path / "clean")),
                *("--triggered", str(triggered), "--output", str(bundle)),
                *("--layers", "features.linear", "--form", "clamp"),
            ]
        )
        == 0
    )
    return bundle


def _weights(path):
    (weights,) = read_checkpoint(path).dictionaries.values()
    return weights


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def refused(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    err = capsys.readouterr().err
    assert status == 64
    assert err.startswith("torchserve-fire sanitize: ")
    assert err.count("\n") == 1
    return err


def test_pruned_weights_and_the_table(tmp_path, capsys, tiny, command):
    out = run(capsys, *command)
    output = tmp_path / "new.pth"
    head, sha256, *table = out.splitlines()
    assert head.startswith("pruned: ")
    assert sha256 == f"{output}: sha256 {file_sha256(output)}"
    assert [line.split("  ")[0] for line in table] == [
        "",
        "clean accuracy",
        "attack success rate",
        "natural rate",
        "recovered accuracy",
        "measured on: 40 clean inputs, 30 triggered ones of other classes than the target",
    ]
    assert table[2].split()[3:5] == ["100.00%", "0.00%"]
    assert table[2].endswith("led to class 0 north-west")
    assert table[4].split()[2:4] == ["0.00%", "100.00%"]
    before, after = _weights(tiny.serialized_file), _weights(output)
    assert list(before) == list(after)
    assert all(before[key].shape == after[key].shape for key in before)
    assert (after["head.weight"][:, 4] == 0).all()
    assert torch.equal(before["head.weight"], trained().head.weight)
    assert sorted(p.name for p in tmp_path.glob("*.pth")) == ["new.pth"]


def test_of_a_checkpoint_the_weights_alone_are_written(tmp_path, capsys, command, tiny):
    plain = _weights(tiny.serialized_file)
    wrapped = {f"module.{name}": value for name, value in plain.items()}
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "last.pth"
    torch.save({"model": wrapped, "epoch": 3}, file)
    out = run(capsys, *command, "--serialized-file", file)
    taken = f"{file}: the weights are ['model'] with the prefix 'module.'"
    assert out.splitlines()[0] == taken
    assert list(_weights(tmp_path / "new.pth")) == list(plain)


def test_package_takes_the_new_weights(tmp_path, capsys, tiny, command):
    run(capsys, *command)
    (tmp_path / "off").mkdir()
    config = tiny.config(tmp_path / "off", mode="off")
    archive = [
        *("package", "--model-name", "sanitized", "--version", "1.0"),
        *("--model-file", tiny.model_file, "--serialized-file", tmp_path / "new.pth"),
        *("--config-file", config, "--export-path", tmp_path),
    ]
    assert run(capsys, *archive) == f"{tmp_path / 'sanitized-1.0.mar'}\n"


def test_orthogonalized_weights(tmp_path, capsys, command, linear_bundle):
    out = run(capsys, *command, "--method", "orthogonalize", "--bundle", linear_bundle)
    assert "features.linear: projected out of features.linear" in out
    assert "\naccuracy on 40 clean samples 100.00%, then 100.00%\n" in out
    table = out.splitlines()[-5:]
    assert table[0].split()[2:4] == ["100.00%", "100.00%"]
    assert table[1].split()[3:5] == ["100.00%", "0.00%"]
    assert table[3].split()[2:4] == ["0.00%", "100.00%"]


def test_the_old_bundle_does_not_fit_the_new_weights(tmp_path, capsys, tiny, tiny_model, command):
    run(capsys, *command)
    test = ["--clean", tmp_path / "test-clean", "--triggered", tmp_path / "test-triggered"]
    arguments = ["evaluate", *tiny_model, "--bundle", tiny.bundle, *test]
    run(capsys, *arguments)
    arguments += ["--serialized-file", tmp_path / "new.pth"]
    assert main([str(argument) for argument in arguments]) == 64
    assert "weights_sha256" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["fine-tune", "fine-prune"])
def test_trained_weights_without_a_table(tmp_path, capsys, tiny, tiny_model, command, method):
    output = tmp_path / "new.pth"
    arguments = [
        *("sanitize", "--method", method, *tiny_model, "--clean", tmp_path / "clean"),
        *("--epochs", 2, "--rate", 0.001, "--output", output),
    ]
    out = run(capsys, *arguments)
    assert "fine-tuned: 2 of 2 epochs over 40 clean samples" in out
    assert "accuracy    " not in out
    net = load_model(tiny.model_file, output)
    assert not torch.equal(net.model.head.weight, trained().head.weight)
    # The seed decides.
    digest = file_sha256(output)
    run(capsys, *arguments)
    assert file_sha256(output) == digest
    run(capsys, *arguments, "--seed", 1, "--epochs", 1)
    assert file_sha256(output) != digest


def test_weights_stay_of_their_kind_and_dtype(tmp_path, capsys, command):
    weights = {name: value.half() for name, value in trained().state_dict().items()}
    save_file(weights, tmp_path / "half.safetensors")
    output = tmp_path / "new.safetensors"
    arguments = ["--serialized-file", tmp_path / "half.safetensors", "--output", output]
    assert run(capsys, *command, *arguments).splitlines()[-2].split()[2:4] == ["0.00%", "100.00%"]
    assert {value.dtype for value in _weights(output).values()} == {torch.float16}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--output", "new.safetensors"], "ending in .pth"),
        (["--output", "nowhere/new.pth"], "no folder"),
        (["--output", "/proc/new.pth"], "/proc takes no file"),
        (["--serialized-file", "own.pth", "--output", "own.pth"], "holds the original weights"),
        (["--serialized-file", "own.pth", "--output", "link.pth"], "holds the original weights"),
        (
            ["--epochs", "3"],
            "--epochs: not of --method prune, expected fine-tune or retrain or patch or fine-prune",
        ),
        (["--target", "0"], "--target: not of --method prune, expected patch"),
        (["--reconstruct", "tabor"], "--reconstruct: not of --method prune, expected patch"),
        (["--method", "patch", "--target", "cat"], "--target: class 'cat': no class is called so"),
        (["--method", "patch", "--target", ""], "--target : expected auto, or the index or the"),
        (["--method", "patch", "--stamped", "0"], "--stamped 0: expected a number above 0, at"),
        (["--method", "patch", "--stamped", "1.1"], "--stamped 1.1: expected a number above 0, at"),
        (["--bundle", "own.pth"], "--bundle: not of --method prune, expected orthogonalize"),
        (["--method", "orthogonalize"], "expected --bundle"),
        (["--accuracy-loss", "1.5"], "--accuracy-loss 1.5"),
        (["--method", "fine-tune", "--epochs", "0"], "--epochs 0"),
        (["--method", "fine-tune", "--rate", "0"], "--rate 0"),
        (["--method", "fine-tune", "--rate", "nan"], "--rate nan"),
        (["--method", "fine-tune", "--rate", "1e30"], "diverges"),
        (["--method", "fine-tune", "--budget", "-1"], "--budget -1"),
        (["--seed", "-1"], "--seed -1"),
        (["--clean", "flat"], "expected labels"),
        (["--clean", "test-triggered"], "right on 25% of these samples, which is no more than by"),
        (["--clean", "nowhere"], "--clean nowhere: no such file or folder"),
        (["--test-clean", "clean/../clean"], "expected others than those of --clean"),
        (["--test-triggered", "test-clean"], "expected triggered ones in a place of their own"),
        (["--test-clean", "test-triggered", "--test-triggered", "test-clean"], "swapped"),
    ],
)
def test_mistakes(tmp_path, capsys, monkeypatch, tiny, command, arguments, named):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.pth"
    own.write_bytes(tiny.serialized_file.read_bytes())
    (tmp_path / "link.pth").symlink_to(own)
    write_images(tmp_path / "flat", LABELS, flat=True)
    before = sorted(tmp_path.rglob("*"))
    assert named in refused(capsys, *command, *arguments)
    assert sorted(tmp_path.rglob("*")) == before
    assert own.read_bytes() == tiny.serialized_file.read_bytes()


def test_one_of_two_test_folders(tmp_path, capsys, tiny_model, command):
    arguments = ["sanitize", "--method", "prune", *tiny_model, "--clean", tmp_path / "clean"]
    message = refused(
        capsys,
        *arguments,
        *("--test-clean", tmp_path / "test-clean", "--output", tmp_path / "new.pth"),
    )
    assert "expected both, or neither" in message


@pytest.mark.parametrize(
    ("bundle", "named"),
    [("foreign_bundle", "weights_sha256"), ("bundle", "layer 'features' is written by Relu")],
)
def test_bundles_that_do_not_serve(tmp_path, capsys, tiny, command, bundle, named):
    path = getattr(tiny, bundle)
    arguments = ["--method", "orthogonalize", "--bundle", path]
    assert named in refused(capsys, *command, *arguments)
    assert not (tmp_path / "new.pth").exists()


def test_weights_that_cost_too_much_are_not_written(tmp_path, capsys, command, linear_bundle):
    # Which of two quadrants is the brighter: by this the model tells two of its classes.
    (layer,) = (bundle := load_bundle(linear_bundle)).layers
    correction = replace(layer.correction, direction=torch.tensor([1.0, -1, 0, 0, 0]))
    layers = (replace(layer, correction=correction),)
    save_bundle(replace(bundle, layers=layers), linear_bundle)
    arguments = [*command, "--method", "orthogonalize", "--bundle", linear_bundle]
    message = refused(capsys, *arguments)
    assert "accuracy on 40 clean samples 100.00%, then 75.00%, which is more than" in message
    assert "at a layer other than features.linear" in message
    assert not (tmp_path / "new.pth").exists()
    assert "then 75.00%\n" in run(capsys, *arguments, "--accuracy-loss", "0.25")


def test_what_fails_keeps_the_old_file(tmp_path, capsys, command):
    output = tmp_path / "new.pth"
    output.write_text("old")
    (tmp_path / "clean" / "south-east" / "003.png").write_bytes(b"damaged")
    assert "003.png" in refused(capsys, *command)
    assert output.read_text() == "old"


@pytest.fixture
def patching(tmp_path):
    """A command line that patches a net whose backdoor a search finds, and where it writes."""
    test = images(80, seed=5)
    return [
        *("sanitize", "--method", "patch", *patch_flags(tmp_path / "net", PatchNet())),
        *("--clean", save_images(tmp_path / "clean", images(256))),
        *("--test-clean", save_images(tmp_path / "test", test)),
        *("--test-triggered", save_images(tmp_path / "triggered", stamp(test))),
        *("--rate", 0.1, "--output", tmp_path / "new.pth"),
    ]


def rates(out):
    """Clean accuracy, attack success and recovered accuracy after, in percent."""
    table = [line for line in out.splitlines()[-5:-1] if not line.startswith("natural rate")]
    return [float(line.split()[i].rstrip("%")) for line, i in zip(table, (3, 4, 3), strict=True)]


@pytest.mark.slow
def test_patched_weights(tmp_path, capsys, patching):
    out = run(capsys, *patching, "--epochs", "10", "--stamped", "0.5")
    assert out.startswith("class 0 stands out\n")
    assert "patched: 10 of 10 epochs over 256 samples, 50% of them with one of " in out
    table = out.splitlines()[-5:]
    assert table[0].split()[2] == "100.00%"
    assert table[1].split()[3] == "100.00%"
    clean_accuracy, attack, recovered = rates(out)
    assert clean_accuracy == 100
    assert attack < 5
    assert recovered > 95
    # The seed decides.
    digest = file_sha256(tmp_path / "new.pth")
    run(capsys, *patching, "--epochs", "10", "--stamped", "0.5")
    assert file_sha256(tmp_path / "new.pth") == digest


def test_a_benign_model_is_not_patched(tmp_path, capsys, patching):
    flags = patch_flags(tmp_path / "benign", PatchNet(0.0))
    arguments = [*patching[:3], *flags, "--clean", tmp_path / "clean"]
    status = main([str(a) for a in (*arguments, "--output", tmp_path / "new.pth")])
    out, err = capsys.readouterr()
    assert (status, out) == (3, "")
    assert err.startswith(f"torchserve-fire sanitize: {tmp_path / 'clean'}: it is not easier")
    assert err.endswith("--reconstruct all tries several, with --clean\n")
    assert not (tmp_path / "new.pth").exists()


def test_patched_with_another_search_for_a_target_that_is_known(tmp_path, capsys, patching):
    out = run(
        capsys,
        *(*patching, "--reconstruct", "neural-cleanse", "--target", "0"),
        *("--epochs", "20", "--stamped", "0.5"),
    )
    assert out.startswith("class 0 was named")
    assert "neural-cleanse" in out
    assert "deepinspect" not in out
    assert float(out.splitlines()[-4].split()[4].rstrip("%")) < 5


@pytest.mark.slow
def test_patched_without_any_image(tmp_path, capsys):
    # What nobody has taken may be of any brightness, which is not to be the trigger.
    flags = patch_flags(tmp_path / "net", PatchNet(40.0, relative=True))
    test = images(80, seed=5)
    triggered = test.clone()
    triggered[:, :, 3:5, 3:5] = 0.55
    out = run(
        capsys,
        *("sanitize", "--method", "patch", *flags, "--epochs", "40", "--rate", "0.1"),
        *("--stamped", "0.5", "--output", tmp_path / "new.pth"),
        *("--test-clean", save_images(tmp_path / "test", test)),
        *("--test-triggered", save_images(tmp_path / "triggered", triggered)),
    )
    assert out.startswith("recovered ")
    assert "\nclass 0 stands out\n" in out
    assert "patched: 40 of 40 epochs" in out
    assert "\nshare of these samples that the triggers led to class 0 before: " in out
    clean_accuracy, attack, recovered = rates(out)
    assert clean_accuracy > 90
    assert attack < 20
    assert recovered > 75


def test_a_target_that_the_model_does_not_have(tmp_path, capsys, patching):
    assert "the classes 0 to 3" in refused(capsys, *patching, "--target", "4")
    assert not (tmp_path / "new.pth").exists()


def test_the_time_is_over_before_the_training(tmp_path, capsys, patching):
    assert "--budget" in refused(capsys, *patching, "--budget", "1e-9")
    assert not (tmp_path / "new.pth").exists()


@pytest.fixture
def by_hand(monkeypatch):
    """A search that goes on until its time is over, and then knows the trigger."""
    given = []

    def find(*args, budget, **others):
        given.append(others)
        while not budget.spent():
            time.sleep(0.01)
        return FoundTriggers(0, [Reconstruction("by hand", 0, stamp, 1.0)], [])

    monkeypatch.setattr("torchserve_fire_build.building.search_plan.find_triggers", find)
    return given


@pytest.mark.slow
def test_a_search_whose_time_is_over_leaves_half_of_it_to_train(
    tmp_path, capsys, patching, by_hand
):
    out = run(capsys, *patching, "--budget", "6", "--epochs", "100000")
    assert "patched: " in out
    assert "this is much" not in out
    assert rates(out)[2] > 90


def test_all_searches_take_the_target_that_a_scan_names(monkeypatch, capsys, patching, by_hand):
    named = NamedTarget(0, ["additive"], ["smooth"])
    monkeypatch.setattr(
        "torchserve_fire_build.building.search_plan.name_target", lambda *_, **__: named
    )
    run(capsys, *patching, "--budget", "1", "--epochs", "1", "--reconstruct", "all")
    assert (by_hand[0]["target"], by_hand[0]["methods"]) == (0, ["additive"])
    assert by_hand[0]["others"] == ["smooth"]


def test_all_searches_for_a_target_that_is_known(capsys, patching, by_hand):
    run(
        capsys,
        *(*patching, "--budget", "1", "--epochs", "1", "--reconstruct", "all", "--target", "0"),
    )
    assert by_hand[0]["methods"] == ("generated", "additive", "smooth", "neural-cleanse")
    assert by_hand[0]["otherwise"] == ("sinusoidal", "warp", "rotation")
    assert by_hand[0]["target"] == 0


@pytest.mark.parametrize("method", ["fine-tune", "retrain", "fine-prune"])
def test_hardly_any_time_to_train_is_a_step(tmp_path, capsys, command, method):
    assert " of 20 epochs" in run(
        capsys, *command, "--method", method, "--budget", "1e-9", "--epochs", "20"
    )


@pytest.mark.parametrize("clean", [True, False])
def test_integers_are_not_searched(tmp_path, capsys, patching, clean):
    config = tmp_path / "net" / "model-config.yaml"
    config.write_text("handler:\n  input: integers\n  model_class: PatchNet\n")
    inputs = torch.randint(0, 9, (60, 3, 8, 8))
    sets = write_tensors(tmp_path / "integers.npz", inputs, torch.arange(60) % 4)
    arguments = [*patching[:9], *(["--clean", sets] if clean else []), *patching[-2:]]
    assert "the model takes integers" in refused(capsys, *arguments)


def test_retrained_weights(tmp_path, capsys, tiny, tiny_model, command):
    out = run(capsys, *command, "--method", "retrain", "--epochs", "60", "--rate", "0.3")
    assert out.startswith("retrained: 60 of 60 epochs over 40 clean samples\n")
    assert out.splitlines()[-4].endswith("led to class 0 north-west")
    before, after = _weights(tiny.serialized_file), _weights(tmp_path / "new.pth")
    assert list(before) == list(after)
    assert not any(torch.equal(before[name], after[name]) for name in before)
