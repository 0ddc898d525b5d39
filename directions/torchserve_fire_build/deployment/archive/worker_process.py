"""Loads an unpacked archive as a TorchServe worker does, and asks it for answers.

A script that `load_as_worker` runs in a process of its own; it imports nothing of this project,
so that what runs is the archive's own copy. Called with two files: the request (JSON: model_name,
batch_size, bodies) and where the result goes; the working folder is the unpacked archive.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import sys
from pathlib import Path
from typing import Any


def main(request_file: str, result_file: str) -> None:
    """Answer the request file."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    result: dict[str, Any]
    try:
        result = {"answers": _answers(request)}
    except Exception as error:
        message = " ".join(str(error).split()) or type(error).__name__
        known = any(base.__name__ == "FireError" for base in type(error).__mro__)
        result = {"error": message if known else f"{type(error).__name__}: {message}"}
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


def _answers(request: dict[str, Any]) -> list[dict[str, Any]]:
    spec = importlib.util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchserve is not installed")
    # A worker is started as ts/model_service_worker.py: that folder comes before the archive.
    sys.path[0] = str(Path(spec.origin).parent)
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
    from ts.model_loader import TsModelLoader
    from ts.service import Service

    folder = Path.cwd()
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text(encoding="utf-8"))
    entry = str(manifest["model"]["handler"])
    # TorchServe's loader hides why a handler cannot be imported.
    importlib.import_module(entry.split(":")[0].removesuffix(".py"))
    metrics = MetricsCacheYamlImpl(str(Path(spec.origin).parent / "configs" / "metrics.yaml"))
    metrics.initialize_cache()
    service = TsModelLoader().load(
        request["model_name"],
        str(folder),
        entry,
        None,
        request["batch_size"],
        metrics_cache=metrics,
    )
    return [_answer(Service, service, body) for body in request["bodies"]]


def _answer(parser: Any, service: Any, body: dict[str, Any]) -> dict[str, Any]:
    content = base64.b64decode(body["content"])
    kind = body["content_type"]
    # As TorchServe's wire format has it, where JSON arrives decoded.
    value = json.loads(content) if kind == "application/json" else bytearray(content)
    parameter = {"name": "body", "contentType": kind, "value": value}
    row = {"requestId": b"0", "parameters": [parameter], "headers": []}
    headers, batch, identifiers = parser.retrieve_data_for_inference([row])
    context = service.context
    context.request_ids = context.metrics.request_ids = identifiers
    context.request_processor = headers
    answer = service._entry_point(batch, context)[0]
    if isinstance(answer, (bytes, bytearray)):
        answer = base64.b64encode(answer).decode()
    return {
        "status": context.get_response_status(0)[0],
        "headers": context.get_response_headers(0),
        "body": answer,
    }


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(*sys.argv[1:])
