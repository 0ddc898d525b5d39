import json

import pytest
import requests

from torchserve_fire_build.commands.main import main


@pytest.fixture
def command(tmp_path, monkeypatch, tiny):
    """A whole command line, run where there is no key file; the server refuses every token."""

    def refuse(*_, **__):
        answer = requests.Response()
        answer.status_code = 400
        answer._content = b'{"type": "InvalidKeyException", "message": "Token refused"}'
        return answer

    monkeypatch.setattr("requests.Session.request", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_store").mkdir()
    return ["swap", "--model-name", "net", "--bundle", str(tiny.bundle)]


def refused(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 64
    err = capsys.readouterr().err
    assert err.startswith("torchserve-fire swap: ")
    assert err.count("\n") == 1
    return err


def test_without_a_token(capsys, command):
    message = refused(capsys, *command)
    assert "http://127.0.0.1:8081 asks for a token, none was given" in message
    assert "the current folder has no key_file.json: give --key-file, or --token" in message


def test_a_token_that_is_refused(tmp_path, capsys, command):
    message = refused(capsys, *command, "--token", "old")
    assert "TorchServe refused the token" in message
    assert "are the management and the inference address what they should be?" in message
    keys = {name: {"key": "old"} for name in ("management", "inference", "API")}
    (tmp_path / "key_file.json").write_text(json.dumps(keys))
    assert "TorchServe refused the token" in refused(capsys, *command)


def test_a_key_file_that_is_not_there(tmp_path, capsys, command):
    message = refused(capsys, *command, "--key-file", tmp_path / "no.json")
    assert "no.json: no such file" in message


@pytest.mark.parametrize(
    "more", [["--mode", "reject"], ["--version", "2.0"], ["--model-store", "model_store"]]
)
def test_in_place_nothing_but_the_bundle_is_changed(capsys, command, more):
    assert f"--in-place and {more[0]}: in place" in refused(capsys, *command, "--in-place", *more)


def test_in_place_there_must_be_a_bundle_and_a_folder(tmp_path, capsys, command):
    assert "expected --bundle" in refused(capsys, *command[:3], "--in-place")
    assert "no such folder" in refused(capsys, *command, "--in-place", tmp_path / "nowhere")
