"""An exported graph in ONNX Runtime against the repaired model, as ratios within one run.

    python -m benchmarks.onnx_export

The network is torchvision's resnet18 at 224 pixels, untrained: what a request takes depends on the
features' sizes, not on what the network has learnt. Which inputs are flagged is decided by a
threshold that all, or none, of them exceed. Both sides run in as many threads.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from torch import Tensor, nn
from tqdm import tqdm

from torchserve_fire.format.bundle import Detection, Layer, repairs_of
from torchserve_fire.format.correction_forms import Affine
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.onnx_graph.compare import answers_of_attached, compare_graph
from torchserve_fire_build.onnx_graph.export_graph import export_graph
from torchserve_fire_build.onnx_graph.names import INPUT
from torchserve_fire_build.samples.tensor_samples import TensorSamples

from .kept import write_json
from .markdown_table import markdown_table

RESULTS = Path(__file__).parent / "results" / "onnx_export.json"
BATCHES = (1, 8)
ROUNDS = 15
SIDE = 224
TARGET = 0
BEYOND = 1e9
"""A threshold above all scores."""


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = measure(args.rounds, args.threads)
    write_json(rows, args.output)
    print(onnx_export_table(rows), end="")


def measure(rounds: int, threads: int) -> list[dict[str, Any]]:
    """Return a row for clean inputs, and one for flagged ones."""
    generator = torch.Generator().manual_seed(0)
    model = torchvision.models.resnet18().eval()
    inputs = torch.randn(max(BATCHES), 3, SIDE, SIDE, generator=generator)
    plain = _session(export_plain(model, inputs[:2]), threads)
    samples, thresholds = [TensorSamples(inputs)], {"clean": BEYOND, "flagged": -BEYOND}
    start = time.perf_counter()
    # A flagged sample takes two passes: the layer that detects is the later one.
    exported = export_graph(model, repairs_of(layers_that_flag(BEYOND), TARGET), 2, inputs[:2])
    seconds = time.perf_counter() - start
    rows = []
    for kind, threshold in thresholds.items():
        layers, graph = layers_that_flag(threshold), with_threshold(exported, threshold)
        with attach_layers(model, layers, inputs[:1], target=TARGET) as handle:
            attached = answers_of_attached(model, handle, samples)
        repaired = _session(graph, threads)
        rows.append(
            {
                "inputs": kind,
                "threads": threads,
                "rounds": rounds,
                "export_seconds": seconds,
                "difference": compare_graph(graph, samples, attached).logits,
                "flagged": int(attached[0].flagged.sum()),
                "ratios": {
                    str(size): ratios(model, layers, plain, repaired, inputs[:size], rounds)
                    for size in tqdm(BATCHES, desc=kind)
                },
            }
        )
    return rows


def with_threshold(graph: bytes, threshold: float) -> bytes:
    """Return a graph of one repair with another threshold."""
    proto = onnx.load_from_string(graph)
    (tensor,) = (one for one in proto.graph.initializer if one.name == "projections.0.threshold")
    value = np.array(threshold, dtype=np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    changed: bytes = proto.SerializeToString()
    return changed


def layers_that_flag(threshold: float) -> list[Layer]:
    """Return a repair in the form that builds choose most often: late detection, early repair."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(512, 7, 7, generator=generator)
    direction = torch.randn(64, 56, 56, generator=generator) * 1e-3
    slope = torch.randn(64, 64, generator=generator) * 1e-3
    return [
        Layer("layer4.0", tuple(weight.shape), Detection(weight, threshold)),
        Layer("layer1.1", tuple(direction.shape), None, Affine(direction, 1, slope=slope)),
    ]


def export_plain(model: nn.Module, example: Tensor) -> bytes:
    """Return the graph of a model without a repair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    file = io.BytesIO()
    assert program is not None  # noqa: S101 - it was not asked to write a file.
    program.save(file)
    return file.getvalue()


def ratios(
    model: nn.Module,
    layers: Sequence[Layer],
    plain: onnxruntime.InferenceSession,
    repaired: onnxruntime.InferenceSession,
    batch: Tensor,
    rounds: int,
) -> dict[str, float]:
    """Return medians of ratios of the time of a request, each of two that ran side by side."""
    values = {INPUT: batch.numpy()}
    runs: dict[str, Callable[[], object]] = {
        "graph": lambda: repaired.run(None, values),
        "plain graph": lambda: plain.run(None, values),
        "attach": lambda: model(batch),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode(), attach_layers(model, layers, batch[:1], target=TARGET):
        # The first round warms up.
        for _ in range(rounds + 1):
            for name, run in runs.items():
                seconds[name].append(_timed(run))

    def over(name: str) -> float:
        pairs = zip(seconds["graph"][1:], seconds[name][1:], strict=True)
        return statistics.median(graph / other for graph, other in pairs)

    return {"graph / attach": over("attach"), "graph / plain graph": over("plain graph")}


def onnx_export_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the time of a request to the graph over that of others."""
    headings = [
        "inputs",
        "batch",
        "graph / repaired by `attach`",
        "graph / plain model's graph",
    ]
    lines = [
        [
            row["inputs"],
            size,
            f"{found['graph / attach']:.2f}",
            f"{found['graph / plain graph']:.2f}",
        ]
        for row in rows
        for size, found in row["ratios"].items()
    ]
    return markdown_table(headings, lines)


def _session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
