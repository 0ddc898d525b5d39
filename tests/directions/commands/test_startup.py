"""Help and refusals come at once: nothing heavy is imported for them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from torchserve_fire_build.commands import COMMANDS

HEAVY = (
    *("torch", "torchvision", "numpy", "sklearn", "scipy", "matplotlib", "requests", "PIL"),
    *("onnx", "onnxruntime"),
)

PROGRAM = f"""
import contextlib, io, json, sys
from torchserve_fire_build.commands.main import main

answers = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code or 0
    heavy = [name for name in {HEAVY} if name in sys.modules]
    answers.append([status, out.getvalue(), err.getvalue(), heavy])
print(json.dumps(answers))
"""

NAMES = [command.__name__.rpartition(".")[2].replace("_", "-") for command in COMMANDS]
MODEL = ["--model-file", "net.py", "--serialized-file", "net.pth", "--config-file", "c.yaml"]
BUILD = ["build", *MODEL, "--clean", "images", "--output", "b.safetensors"]
TRIGGERED = [*BUILD, "--triggered", "images"]
SANITIZE = ["sanitize", *MODEL, "--clean", "images", "--output", "new.pth"]
EVALUATE = ["evaluate", *MODEL, "--bundle", "c.yaml", "--clean", "images", "--triggered", "images"]
EXPORT = ["export", *MODEL, "--bundle", "c.yaml", "--clean", "images"]
PACKAGE = ["package", *MODEL, "--model-name", "m", "--version", "1", "--export-path", "images"]
IMPORT = ["import-backdoorbench", "c.yaml", "--output"]
SWAP = ["swap", "--model-name", "m", "--mode", "off", "--model-store", "images"]
KEY = base64.b64encode(bytes(32)).decode()
REVIEW = ["review", "--management", "http://127.0.0.1:1"]
SERVE_SIGNED = ["serve", "--model-store", "images", "--trusted-key", KEY]

REFUSED = [
    ([], "the following arguments are required: COMMAND"),
    (["biuld"], "did you mean build?"),
    (["build", "--model_file", "net.py"], "did you mean --model-file?"),
    ([*TRIGGERED, "--serialized-file", "no.pth"], "--serialized-file no.pth: no such file"),
    ([*TRIGGERED, "--clean", "none"], "--clean none: no such file or folder"),
    ([*TRIGGERED, "--output", "b.pt"], "--output b.pt: expected a name ending in .safetensors"),
    ([*TRIGGERED, "--output", "no/b.safetensors"], "no/b.safetensors: cannot be written: no fold"),
    ([*TRIGGERED, "--report", "c.yaml"], "c.yaml: is a file, expected a folder"),
    ([*TRIGGERED, "--target", ""], "--target : expected auto, or the index or the name"),
    ([*TRIGGERED, "--device", "tpu"], "--device tpu: expected auto, cpu, cuda, cuda:N (as cuda:1)"),
    ([*TRIGGERED, "--seed", "-1"], "--seed -1: expected a whole number"),
    ([*TRIGGERED, "--budget", "2m"], "--budget: expected beside --reconstruct"),
    ([*TRIGGERED, "--bound", "9"], "--bound 9: expected beside a search for triggers"),
    ([*TRIGGERED, "--components", "9"], "--components 9: expected beside --pool or --refine"),
    ([*BUILD, "--reconstruct", "all", "--budget", "soon"], "--budget soon: expected a time"),
    (["build", *MODEL, "--triggered", "images", "--output", "b.safetensors"], "--clean: expected"),
    ([*EVALUATE, "--json", "no/f.json"], "no/f.json: cannot be written"),
    (EXPORT, "--onnx: expected the file to write, or --triton, or both"),
    ([*EXPORT, "--onnx", "n.pt"], "--onnx n.pt: expected a name ending in .onnx"),
    ([*EXPORT, "--onnx", "no/n.onnx"], "no/n.onnx: cannot be written"),
    ([*EXPORT, "--triton", "images"], "--triton images: exists already"),
    (["inspect", *MODEL], "--clean: expected clean samples, which scan needs"),
    (["review"], "expected FOLDER with what was flagged, or --management with the server"),
    (["review", "images", "--model-name", "m"], "--model-name: expected beside --management"),
    (["review", "images", "--clean", "images"], "--archive: expected the model that --bundle and"),
    (["review", "images", *MODEL], "--bundle: expected the bundle that flagged the files"),
    ([*REVIEW, "--archive", "c.yaml"], "--archive: expected no such flag beside --management"),
    (["screen", *MODEL, "images"], "--clean: expected clean samples to compare with, or --bundle"),
    (["screen", *MODEL, "--clean", "images", "none"], "screen: none: no such file or folder"),
    (["screen", *MODEL, "--clean", "images", "images", "--csv", "no/p.csv"], "no/p.csv: cannot be"),
    (["inspect", *MODEL, "--method", "magic"], "--method magic: expected one of scan"),
    ([*SANITIZE, "--method", "prune", "--rate", "1"], "--rate: not of --method prune"),
    ([*SANITIZE, "--method", "orthogonalize"], "expected --bundle"),
    ([*SANITIZE, "--method", "prune", "--output", "new.pt"], "ending in .pth"),
    (
        [*SANITIZE, "--method", "prune", "--output", "net.pth"],
        "net.pth: holds the original weights",
    ),
    (["show", "none.safetensors"], "none.safetensors: no such file"),
    (["keygen", "c.yaml"], "c.yaml: exists already"),
    (["sign", "none"], "none: no such file"),
    (["sign", "c.yaml"], "no key to sign with: name a key file"),
    (["sign", "c.yaml", "--key", "net.py"], "net.py: expected an Ed25519 private key"),
    (["verify", "none", "--trusted-key", KEY], "none: no such file"),
    (["verify", "c.yaml", "--trusted-key", "k"], "--trusted-key k: expected an Ed25519 public key"),
    (["verify", "m.mar", "--trusted-key", KEY], "m.mar: "),
    (["serve", "--model-store", "none"], "--model-store none: no such folder"),
    (["serve", "--model-store", "images", "--models", "m.mar"], "m.mar: no such archive in"),
    ([*SERVE_SIGNED, "--models", "m.mar"], "m.mar: no such archive in"),
    (SERVE_SIGNED, "expected the archives to load (--models)"),
    (["deploy", "none.mar", "--model-name", "m"], "none.mar: no such file"),
    (["deploy", "c.yaml"], "the following arguments are required: --model-name"),
    (["deploy", "c.yaml", "--model-name", "m"], "c.yaml: damaged, expected an archive (.mar)"),
    (["deploy", "c.yaml", "--model-name", "m", "--version", "../1"], "version '../1': expected"),
    (["swap", "--model-name", "m", "--model-store", "images"], "expected --bundle, --mode, or bo"),
    (["swap", "--model-name", "m", "--mode", "on"], "--mode on: expected one of repair, observe"),
    ([*SWAP, "--trusted-key", KEY], "--trusted-key: there is no bundle to check: give --bundle"),
    ([*SWAP, "--sign", "net.py"], "net.py: expected an Ed25519 private key"),
    (["ready", "--model-name", "m", "--timeout", "0"], "--timeout 0: expected a time above 0"),
    (["undeploy", "--model-name", "m", "--all", "--version", "1"], "--all and --version: expected"),
    (["status", "--key-file", "none"], "--key-file none: no such file"),
    (["package", *MODEL, "--handler", "h.py"], "--handler h.py: no such file"),
    ([*PACKAGE, "--model-name", "a b"], "model name 'a b': expected letters"),
    ([*PACKAGE, "--version", "../1"], "version '../1': expected letters"),
    ([*PACKAGE, "--sign", "net.py"], "net.py: expected an Ed25519 private key"),
    (["import-backdoorbench", "none.pt", "--output", "new"], "none.pt: no such file"),
    (["import-backdoorbench", "c.yaml"], "the following arguments are required: --output"),
    ([*IMPORT, "images"], "--output images: exists already, expected a new folder"),
    ([*IMPORT, "no/new"], "no/new: cannot be written: no folder no"),
    ([*IMPORT, "new", "--data", "none"], "--data none: no such folder"),
    ([*IMPORT, "new", "--limit", "0"], "--limit 0: expected a whole number, 1 or more"),
    (["demo", "--keep", "x"], "x: expected nothing more"),
    (["demo", "--output", "c.yaml"], "--output c.yaml: is a file, expected a folder"),
    (["demo", "--output", "."], "--output .: holds other files"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which what the command lines name exists."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("net.py", "net.pth", "c.yaml"):
        (folder / name).touch()
    (folder / "images").mkdir()
    return folder


def answered(folder: Path, lines: list[list[str]]) -> list[tuple[int, str, str, list[str]]]:
    """Run command lines one after the other in a process that has imported nothing."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(answer) for answer in json.loads(done.stdout)]


def test_help_and_the_version_import_nothing_heavy(folder: Path) -> None:
    lines = [["--help"], ["--version"], *([name, "--help"] for name in NAMES)]
    for words, (status, out, err, heavy) in zip(lines, answered(folder, lines), strict=True):
        assert (words, status, err, heavy) == (words, 0, "", [])
        assert "torchserve-fire" in out


def test_refusals_import_nothing_heavy(folder: Path) -> None:
    answers = answered(folder, [words for words, _ in REFUSED])
    for (words, said), (status, out, err, heavy) in zip(REFUSED, answers, strict=True):
        assert (words, status, out, heavy) == (words, 64, "", [])
        assert said in err
        assert err.count("\n") == 1
    assert len(list(folder.iterdir())) == 4


def test_without_a_server_a_swap_loads_no_torch(folder: Path) -> None:
    nobody = "http://127.0.0.1:1"
    ((status, out, err, heavy),) = answered(folder, [[*SWAP, "--management", nobody]])
    assert (status, out, heavy) == (64, "", ["requests"])
    assert nobody in err
