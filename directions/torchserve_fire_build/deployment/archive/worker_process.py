"""Loads an unpacked archive as a TorchServe worker does, and asks it for answers.

A script that `load_as_worker` runs in a process of its own; it imports nothing of this project,
so that what runs is the archive's own copy. Called with two files: the request (JSON: model_name,
batch_size, gpu_id, bodies) and where the result goes; the working folder is the unpacked archive.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
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
    except (Exception, SystemExit) as error:
        result = {"error": _reason(error)}
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
    _import_handler(entry.split(":")[0].removesuffix(".py").split("/")[-1])
    metrics = MetricsCacheYamlImpl(str(Path(spec.origin).parent / "configs" / "metrics.yaml"))
    metrics.initialize_cache()
    service = TsModelLoader().load(
        request["model_name"],
        str(folder),
        entry,
        request["gpu_id"],
        request["batch_size"],
        metrics_cache=metrics,
    )
    predicted = _record_predictions(service) if request.get("predictions") else None
    return [_answer(Service, service, body, predicted) for body in request["bodies"]]


def _record_predictions(service: Any) -> list[dict[str, Any]]:
    """Return a list to which every later forward pass of the model adds what it predicts.

    The repair's hooks run before, so that it is what comes after repair.
    """
    import torch

    entry = service._entry_point
    owner = getattr(entry, "__self__", None) or sys.modules[entry.__module__]
    values = [owner, *vars(owner).values()] if isinstance(owner, type(sys)) else [owner]
    models = {
        id(model): model
        for value in values
        for model in (value, getattr(value, "model", None))
        if isinstance(model, torch.nn.Module)
    }
    (model,) = models.values()
    predicted: list[dict[str, Any]] = []

    def note(module: Any, args: Any, output: Any) -> None:
        logits = _logits(output).detach().float().cpu()
        digest = hashlib.sha256(logits.numpy().tobytes()).hexdigest()
        predicted.append({"class": int(logits[0].argmax()), "digest": digest})

    model.register_forward_hook(note)
    return predicted


def _logits(output: Any) -> Any:
    """Return the logits in a model's output, by the rule that builds go by."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    named = output.get("logits") if isinstance(output, dict) else None
    named = getattr(output, "logits", None) if named is None else named
    if named is not None:
        return named
    fields = getattr(output, "__dict__", {}).values()
    parts = output.values() if isinstance(output, dict) else output
    every = parts if isinstance(output, (dict, tuple, list)) else fields
    (found,) = [
        part
        for part in every
        if isinstance(part, torch.Tensor)
        and part.is_floating_point()
        and part.dim() == 2
        and part.shape[1] > 1
    ]
    return found


def _import_handler(name: str) -> None:
    """Import a handler's module, because TorchServe's loader hides why one cannot be imported."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        # One of TorchServe's own, such as image_classifier.
        importlib.import_module(f"ts.torch_handler.{name}")


def _answer(
    parser: Any, service: Any, body: dict[str, Any], predicted: list[dict[str, Any]] | None
) -> dict[str, Any]:
    kind = body["content_type"]
    value = _received(base64.b64decode(body["content"]), kind)
    parameter = {"name": body["parameter"], "contentType": kind, "value": value}
    row = {"requestId": b"0", "parameters": [parameter], "headers": []}
    headers, batch, identifiers = parser.retrieve_data_for_inference([row])
    context = service.context
    context.request_ids = context.metrics.request_ids = identifiers
    context.request_processor = headers
    if predicted is not None:
        predicted.clear()
    try:
        answers = service._entry_point(batch, context)
        if not isinstance(answers, list) or len(answers) != 1:
            raise ValueError("the handler did not return a list of one answer for one request")
        content = _sent(answers[0])
    except (Exception, SystemExit) as error:
        # What TorchServe answers then, whatever the handler had set.
        code = getattr(error, "error_code", 503)
        return {
            "status": code,
            "headers": {},
            "content": "",
            "error": _reason(error),
            "predicted": None,
        }
    return {
        "status": context.get_response_status(0)[0] or 200,
        "headers": context.get_response_headers(0),
        "content": base64.b64encode(content).decode(),
        "error": None,
        # Flagged samples take two passes, of which the outer one ends last.
        "predicted": predicted[-1] if predicted else None,
    }


def _received(content: bytes, kind: str) -> Any:
    """Return what TorchServe hands to a handler: it decodes JSON and text, where it can."""
    try:
        if kind == "application/json":
            return json.loads(content.decode("utf-8"))
        if kind.startswith("text"):
            return content.decode("utf-8")
    except ValueError:
        pass
    return bytearray(content)


def _sent(answer: Any) -> bytes:
    """Return the bytes that TorchServe sends for what a handler returns."""
    if isinstance(answer, (bytes, bytearray)):
        return bytes(answer)
    if isinstance(answer, str):
        return answer.encode("utf-8")
    import torch

    if isinstance(answer, torch.Tensor):
        file = io.BytesIO()
        torch.save(answer, file)
        return file.getvalue()
    return json.dumps(answer, indent=2).encode("utf-8")


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it ends the process (SystemExit)"
    message = " ".join(str(error).split()) or type(error).__name__
    known = any(base.__name__ == "FireError" for base in type(error).__mro__)
    return message if known else f"{type(error).__name__}: {message}"


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(*sys.argv[1:])
