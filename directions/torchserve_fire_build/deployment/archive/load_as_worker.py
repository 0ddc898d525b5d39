"""Proving that an unpacked archive will serve: it is loaded as a TorchServe worker loads it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from torchserve_fire.core.unpack import copy_files
from torchserve_fire.core.worker_start import AS_SERVER, TRIAL_VARIABLE
from torchserve_fire.errors import FireError

from ...signing.signing_key import KEY_VARIABLE

SCRIPT = Path(__file__).with_name("worker_process.py")
LOAD_SECONDS = 600.0
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Body:
    """The body of a request.

    Attributes:
        content: its bytes.
        content_type: its media type.
        parameter: of the request that holds it; `body` where it is sent alone.
    """

    content: bytes
    content_type: str
    parameter: str = "body"


def content_type(name: str) -> str:
    """Return the media type under which a client sends a file as the body of a request."""
    kinds = {".json": "application/json", ".txt": "text/plain"}
    return kinds.get(name[name.rfind(".") :].lower(), "application/octet-stream")


@dataclass(frozen=True)
class Answer:
    """What one request was answered.

    Attributes:
        status: HTTP status code.
        headers: response headers that the handler set.
        body: as `decoded` makes it of the bytes that were sent.
        error: why the handler could not answer; None where it did.
        predicted: the class that the model predicted, after repair, where that was asked for.
        logits: SHA-256 of the model's logits, likewise.
    """

    status: int
    headers: Mapping[str, str]
    body: Any
    error: str | None = None
    predicted: int | None = None
    logits: str | None = None


def decoded(content: bytes) -> Any:
    """Return what an answer's bytes are: JSON where they are that, else text, else the bytes."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return content
    try:
        return json.loads(text)
    except ValueError:
        return text


CPU = torch.device("cpu")


def gpu_id_of(device: torch.device) -> int | None:
    """Return what TorchServe tells a worker that is to use a device: `gpu_id`, None for the CPU."""
    return None if device.type == "cpu" else device.index or 0


def load_as_worker(
    folder: Path,
    model_name: str,
    bodies: Sequence[Body] = (),
    *,
    device: torch.device = CPU,
    as_server: bool = False,
) -> list[Answer]:
    """Load an unpacked archive as a worker does, in a process of its own.

    The archive's handler runs with the archive's own copy of this project: its weights, bundle and
    configuration are checked against each other, and a dummy forward pass is made.

    Args:
        folder: the unpacked archive; nothing is written to it.
        model_name: the name to serve it under.
        bodies: requests to answer, each in a batch of its own.
        device: that the worker is told to use.
        as_server: whether it goes by the newest bundle of its folder, as the server's workers do
            (`handler: bundle_folder`), where this machine has that; else by its own.

    Returns:
        The answers, in the order of `bodies`.

    Raises:
        FireError: it cannot be loaded, or fails to answer; with the reason.
    """
    answers = try_as_worker(folder, model_name, bodies, device=device, as_server=as_server)
    for answer in answers:
        if answer.error is not None:
            raise FireError(f"model {model_name} would not serve: {answer.error}")
    return answers


def try_as_worker(
    folder: Path,
    model_name: str,
    bodies: Sequence[Body],
    *,
    predictions: bool = False,
    device: torch.device = CPU,
    as_server: bool = False,
) -> list[Answer]:
    """Do as `load_as_worker`, and let the handler fail to answer: what it said is in the answers.

    Args:
        folder: as there.
        model_name: as there.
        bodies: as there.
        predictions: whether to note what the model predicts, besides.
        device: as there.
        as_server: as there.

    Raises:
        FireError: it cannot be loaded; with the reason.
    """
    with tempfile.TemporaryDirectory(prefix="fire-check-") as temporary:
        request, result = Path(temporary) / "request.json", Path(temporary) / "result.json"
        request.write_text(
            json.dumps(
                {
                    "model_name": model_name,
                    "batch_size": 1,
                    "gpu_id": gpu_id_of(device),
                    "predictions": predictions,
                    "bodies": [
                        {
                            "content": base64.b64encode(body.content).decode(),
                            "content_type": body.content_type,
                            "parameter": body.parameter,
                        }
                        for body in bodies
                    ],
                }
            ),
            encoding="utf-8",
        )
        # A handler may write into the folder that it runs in.
        copy = Path(temporary).resolve() / "archive"
        copy_files(folder, copy)
        environment = dict(os.environ)
        environment |= {
            "PYTHONPATH": str(copy),
            "PYTHONDONTWRITEBYTECODE": "1",
            # What is tried here must not be kept as if a client had sent it.
            TRIAL_VARIABLE: AS_SERVER if as_server else "1",
        }
        if device.type == "cpu":
            # The accelerators belong to the servers that run.
            environment["CUDA_VISIBLE_DEVICES"] = ""
        # The model that runs there may be of anybody.
        environment.pop(KEY_VARIABLE, None)
        try:
            process = subprocess.run(  # noqa: S603 - our own interpreter and script.
                [sys.executable, str(SCRIPT), str(request), str(result)],
                cwd=copy,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LOAD_SECONDS + ANSWER_SECONDS * len(bodies),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FireError(
                f"model {model_name}: did not load and answer {len(bodies)} requests within "
                f"{LOAD_SECONDS + ANSWER_SECONDS * len(bodies):.0f} s"
            ) from None
        if not result.is_file():
            lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
            raise FireError(
                f"model {model_name}: its process ended while loading or answering: {lines[-1]}"
            )
        answered = json.loads(result.read_text(encoding="utf-8"))
    if "error" in answered:
        raise FireError(f"model {model_name} would not serve: {answered['error']}")
    return [
        Answer(
            answer["status"],
            answer["headers"],
            decoded(base64.b64decode(answer["content"])),
            answer["error"],
            *((predicted["class"], predicted["digest"]) if predicted else (None, None)),
        )
        for answer in answered["answers"]
        for predicted in [answer["predicted"]]
    ]
