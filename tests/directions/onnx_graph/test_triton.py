"""The folder of a Triton model, read with the schema that Triton's own client brings."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from torchserve_fire.errors import OutputError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.onnx_graph.compare import Comparison
from torchserve_fire_build.onnx_graph.export import Exported
from torchserve_fire_build.onnx_graph.triton import write_triton_model


def exported(described, names=(), scores=0.0):
    comparison = Comparison(2, 0.0, scores, 0)
    return Exported(b"graph", described, 3, names, False, [comparison], ((0, 1), (1, 1)))


def config_in(folder):
    text = (folder / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_the_configuration_says_what_the_graph_takes_and_gives(tmp_path):
    folder = tmp_path / "net"
    names = ("cat", "dog\nor wolf", "owl")
    write_triton_model(folder, exported(InputDescription("image", (3, 8, 9)), names))
    config = config_in(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("net", "onnxruntime", 64)
    assert config.HasField("dynamic_batching")
    (taken,) = config.input
    kinds = model_config_pb2
    assert (taken.name, taken.data_type, taken.dims) == ("input", kinds.TYPE_FP32, [3, 8, 9])
    given = {output.name: output for output in config.output}
    assert list(given) == ["logits", "flagged", "score"]
    assert (given["logits"].dims, given["logits"].label_filename) == ([3], "labels.txt")
    assert given["flagged"].data_type == kinds.TYPE_BOOL
    for name in ("flagged", "score"):
        # One value a sample: in the graph, (N,).
        assert given[name].dims == [1]
        assert given[name].HasField("reshape")
        assert given[name].reshape.shape == []
    assert (folder / "labels.txt").read_text() == "cat\ndog or wolf\nowl\n"
    assert (folder / "1" / "model.onnx").read_bytes() == b"graph"


def test_integers_without_names_or_a_score(tmp_path):
    write_triton_model(tmp_path / "n", exported(InputDescription("integers", (5,)), scores=None))
    config = config_in(tmp_path / "n")
    assert config.input[0].data_type == model_config_pb2.TYPE_INT64
    assert [output.name for output in config.output] == ["logits", "flagged"]
    assert config.output[0].label_filename == ""
    assert sorted(path.name for path in (tmp_path / "n").iterdir()) == ["1", "config.pbtxt"]


def test_nothing_stays_where_the_folder_cannot_be_made(tmp_path):
    with pytest.raises(OutputError):
        write_triton_model(tmp_path / "no" / "net", exported(InputDescription("tensor", (2,))))
    assert list(tmp_path.iterdir()) == []
