from importlib.metadata import PackageNotFoundError, version

import pytest

from torchserve_fire_build.commands import COMMANDS
from torchserve_fire_build.commands.main import build_parser, main
from torchserve_fire_build.commands.refusal import Refusal

NAMES = (
    "inspect",
    "screen",
    "repair",
    "build",
    "evaluate",
    "compare",
    "package",
    "export",
    "show",
    "serve",
    "ready",
    "status",
    "deploy",
    "swap",
    "undeploy",
    "review",
    "sanitize",
    "import-backdoorbench",
    "keygen",
    "sign",
    "verify",
    "demo",
)


def helped(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_help_names_every_command(capsys):
    text = helped(capsys)
    assert "torchserve-fire" in text
    for name in NAMES:
        assert f"\n    {name}" in text
    assert len(COMMANDS) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_each_command(capsys, name):
    text = helped(capsys, name)
    assert "%%" not in text
    assert f"usage: torchserve-fire {name}" in text
    # A description, not the flags alone.
    assert len(text.split("\n\n")) >= 3


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        (
            "inspect",
            "--model-file --serialized-file --config-file --clean --method --shadows --queries "
            "--saliency-weights --cache --budget --seed --json --pictures --bound --patch-share "
            "--screening-steps --anomaly-index --device",
        ),
        (
            "build",
            "--model-file --serialized-file --config-file --clean --triggered --pool "
            "--split-by --components --layers --target --seed --output --reconstruct --budget "
            "--bound --patch-share --screening-steps --anomaly-index --steps --device",
        ),
        (
            "evaluate",
            "--model-file --serialized-file --config-file --bundle --clean --triggered --json "
            "--device",
        ),
        (
            "package",
            "--model-name --version --model-file --serialized-file --config-file --bundle "
            "--handler --extra-files --requirements-file --export-path --force "
            "--sign --trusted-key --device",
        ),
        ("show", "--json"),
        ("serve", "--model-store --models --trusted-key"),
        (
            "deploy",
            "--model-name --model-store --version --example --keep-on-restart --management --ca",
        ),
        (
            "swap",
            "--model-name --bundle --keep-on-restart --management --token --ca --sign "
            "--trusted-key",
        ),
        (
            "undeploy",
            "--model-name --version --default --all --now --keep-on-restart --management --token "
            "--key-file --ca",
        ),
        ("sign", "--key"),
        ("verify", "--trusted-key"),
        (
            "ready",
            "--model-name --version --input --bundle --timeout --management --inference "
            "--token --inference-token --key-file --ca",
        ),
        (
            "sanitize",
            "--method --model-file --serialized-file --config-file --clean --reconstruct "
            "--target --stamped --bundle --test-clean --test-triggered --epochs --rate --budget "
            "--accuracy-loss --seed --output --device",
        ),
    ],
)
def test_the_flags_that_were_promised(capsys, name, flags):
    text = helped(capsys, name)
    for flag in flags.split():
        assert flag in text


@pytest.mark.parametrize(
    "arguments", [[], ["bild"], ["build"], ["show"], ["show", "--js", "b.safetensors"], ["--vers"]]
)
def test_wrong_usage_is_2(capsys, arguments):
    assert main(arguments) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("torchserve-fire")
    assert err.count("\n") == 1
    assert "--help)" in err


def test_an_unknown_flag_is_of_its_command(capsys):
    assert main(["show", "b", "--no-such", "a\nb"]) == 64
    said = "--no-such: no such flag (see torchserve-fire show --help)"
    assert capsys.readouterr().err == f"torchserve-fire show: {said}\n"
    assert main(["show", __file__, "a\nb"]) == 64
    said = "a b: expected nothing more (see torchserve-fire show --help)"
    assert capsys.readouterr().err == f"torchserve-fire show: {said}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["biuld"], "torchserve-fire: biuld: no such command; did you mean build? (see torch"),
        (["xyz"], "torchserve-fire: xyz: no such command, expected one of inspect, screen, rep"),
        (["build", "--model_file", "m"], "--model_file: no such flag; did you mean --model-file?"),
        (["build", "--model_file=m"], "--model_file: no such flag; did you mean --model-file?"),
        (["build", "--form", "gate"], "--form gate: expected one of gated, shift, clamp; did you "),
        (["--versoin"], "torchserve-fire: --versoin: no such flag; did you mean --version? (see"),
        (["show", "--xyz"], "torchserve-fire show: --xyz: no such flag (see"),
    ],
)
def test_what_is_misspelt_is_named_with_what_was_meant(capsys, arguments, said):
    assert main(arguments) == 64
    assert said in capsys.readouterr().err


def test_the_version_is_that_of_the_installation(capsys, monkeypatch):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code in (0, None)
    assert capsys.readouterr().out == f"torchserve-fire {version('torchserve-fire')}\n"

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("torchserve_fire_build.common.installed.version", missing)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == "torchserve-fire (not installed)\n"


def test_flags_are_not_abbreviated():
    parser = build_parser()
    with pytest.raises(Refusal):
        parser.parse_args(["show", __file__, "--jso"])
    assert parser.parse_args(["show", __file__, "--json"]).json


def test_bad_input_is_one_line_and_2(tmp_path, capsys):
    assert main(["show", str(tmp_path / "no.safetensors")]) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("torchserve-fire show: ")
    assert err.count("\n") == 1
    assert "no.safetensors" in err


def test_an_interruption_is_130(capsys, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchserve_fire_build.commands.show.run", interrupted)
    assert main(["show", __file__]) == 130
    assert capsys.readouterr().err == "torchserve-fire show: interrupted\n"


def test_what_is_known_of_a_cut_off_command_is_told(monkeypatch, capsys):
    def stopped(args, command):
        raise KeyboardInterrupt("net 1.0 serves on")

    monkeypatch.setattr("torchserve_fire_build.commands.main._run", stopped)
    assert main(["status"]) == 130
    assert capsys.readouterr().err == "torchserve-fire status: interrupted; net 1.0 serves on\n"
