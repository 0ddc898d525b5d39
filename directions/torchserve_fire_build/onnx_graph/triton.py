"""A folder of a Triton model repository around an exported graph."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torchserve_fire.format.write_file import made_folder, write_files

from .export import Exported
from .names import FLAGGED, INPUT, LOGITS, SCORE

MAX_BATCH = 64
LABELS = "labels.txt"


def write_triton_model(folder: Path, exported: Exported) -> None:
    """Write `config.pbtxt`, `1/model.onnx` and, if the classes have names, `labels.txt`.

    Args:
        folder: of the model, in a repository; its name is the model's.
        exported: the graph.

    Raises:
        OutputError: they cannot be written; then none is.
    """
    version = folder / "1"
    files = {
        folder / "config.pbtxt": triton_config(folder.name, exported).encode(),
        version / "model.onnx": exported.graph,
    }
    if exported.names:
        lines = (" ".join(name.split()) for name in exported.names)
        files[folder / LABELS] = ("\n".join(lines) + "\n").encode()
    with made_folder(folder), made_folder(version):
        write_files(files)


def triton_config(name: str, exported: Exported) -> str:
    """Return the text of `config.pbtxt`; requests that wait are answered together."""
    described = exported.described
    kind = "TYPE_INT64" if described.kind == "integers" else "TYPE_FP32"
    logits = _tensor(LOGITS, "TYPE_FP32", [exported.classes])
    if exported.names:
        logits += f'\n    label_filename: "{LABELS}"'
    # One value for each sample: a batch of them has one dimension in the graph.
    outputs = [logits, _tensor(FLAGGED, "TYPE_BOOL", [1], "reshape { shape: [ ] }")]
    if exported.scored:
        outputs.append(_tensor(SCORE, "TYPE_FP32", [1], "reshape { shape: [ ] }"))
    return (
        f"name: {json.dumps(name)}\n"
        'backend: "onnxruntime"\n'
        f"max_batch_size: {MAX_BATCH}\n"
        f"input [\n  {{\n{_tensor(INPUT, kind, described.shape)}\n  }}\n]\n"
        "output [\n" + ",\n".join(f"  {{\n{output}\n  }}" for output in outputs) + "\n]\n"
        "dynamic_batching { }\n"
    )


def _tensor(name: str, kind: str, shape: Sequence[int], *more: str) -> str:
    lines = [f'name: "{name}"', f"data_type: {kind}", f"dims: [ {', '.join(map(str, shape))} ]"]
    return "\n".join(f"    {line}" for line in (*lines, *more))
