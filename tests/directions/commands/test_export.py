import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.directions.backdoored import write_images
from tests.tiny_net import trained
from torchserve_fire.format.digest import file_sha256
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.onnx_graph import export

LABELS = [0, 1, 2, 3] * 3


@pytest.fixture
def command(tmp_path, tiny, tiny_model):
    """A whole command line; a flag that is given again replaces the first."""
    clean = write_images(tmp_path / "clean", LABELS)
    triggered = write_images(tmp_path / "triggered", LABELS, triggered=True)
    return [
        *("export", *tiny_model),
        *("--bundle", str(tiny.bundle)),
        *("--clean", str(clean)),
        *("--triggered", str(triggered)),
        *("--onnx", str(tmp_path / "net.onnx")),
    ]


def refused(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    err = capsys.readouterr().err
    assert status == 64
    assert err.startswith("torchserve-fire export: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.slow
def test_a_graph_and_a_folder_for_triton(tmp_path, capsys, command, tiny):
    assert main([*command, "--triton", str(tmp_path / "quadrants")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "input (N, 3, 8, 8) float32; outputs logits (N, 4), flagged (N,), score (N,)\n" in out
    assert "on 24 samples: logits within " in out
    assert "flags are equal: 0 of 12 clean ones and 12 of 12 triggered ones" in out
    assert "no check of the weights" in out

    graph = tmp_path / "net.onnx"
    assert (tmp_path / "quadrants" / "1" / "model.onnx").read_bytes() == graph.read_bytes()
    assert (tmp_path / "quadrants" / "labels.txt").read_text().split() == [
        *("north-west", "north-east", "south-west", "south-east")
    ]
    model = onnx.load(graph)
    onnx.checker.check_model(model, full_check=True)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["torchserve_fire.bundle_sha256"] == file_sha256(tiny.bundle)
    assert said["torchserve_fire.weights_sha256"] == file_sha256(tiny.serialized_file)
    assert json.loads(said["torchserve_fire.class_names"])[1] == "north-east"
    assert json.loads(said["torchserve_fire.input_shape"]) == [3, 8, 8]
    assert json.loads(said["torchserve_fire.std"]) == [1, 1, 1]

    inputs = np.zeros((7, 3, 8, 8), np.float32)
    inputs[:, :, 4:, 4:] = 0.5
    inputs[3, :, 0, 0] = 1
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    logits, flagged = session.run(["logits", "flagged"], {"input": inputs})
    assert flagged.tolist() == [False] * 3 + [True] + [False] * 3
    assert logits.argmax(1).tolist() == [3] * 7
    # Without the repair, the bright corner leads to class 0.
    assert trained().eval()(torch.from_numpy(inputs)).argmax(1).tolist() == [3, 3, 3, 0, 3, 3, 3]


def test_a_graph_that_answers_otherwise_is_not_written(tmp_path, capsys, command, monkeypatch):
    right = export.export_graph

    def wrong(model, repairs, *others, **options):
        with torch.no_grad():
            model.head.bias[1] += 1
        return right(model, repairs, *others, **options)

    monkeypatch.setattr(export, "export_graph", wrong)
    message = refused(capsys, *command, "--triton", tmp_path / "quadrants")
    assert "does not answer as attach does, so it is not written: logits differ by" in message
    assert not (tmp_path / "net.onnx").exists()
    assert not (tmp_path / "quadrants").exists()


def test_a_repair_that_the_samples_do_not_show_is_not_exported(tmp_path, capsys, command):
    message = refused(capsys, *command, "--triggered", tmp_path / "clean")
    assert "the repair for target 0 that detects at 'features' flags none of the samples" in message
    assert "give --triggered samples that it flags" in message
    assert not (tmp_path / "net.onnx").exists()


def test_a_bundle_for_other_weights(capsys, command, tiny):
    message = refused(capsys, *command, "--bundle", tiny.foreign_bundle)
    assert f"{tiny.foreign_bundle}: weights_sha256: built for" in message


def test_without_a_bundle(capsys, tmp_path, tiny_model):
    (tmp_path / "clean").mkdir()
    clean = ["--clean", tmp_path / "clean", "--onnx", tmp_path / "net.onnx"]
    assert "--bundle: expected" in refused(capsys, "export", *tiny_model, *clean)


def test_without_the_extra_it_is_named(capsys, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    message = refused(capsys, *command)
    assert "onnxruntime is not installed: install torchserve-fire with its extra 'onnx'" in message
