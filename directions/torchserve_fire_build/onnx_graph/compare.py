"""Comparing an exported graph, as ONNX Runtime runs it, with the hooks of `attach`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from torchserve_fire.errors import first_line
from torchserve_fire.repair.repair_handle import RepairHandle

from ..common.errors import ExportError
from ..common.progress import Progress
from ..samples.predict import logits_of
from ..samples.samples import Samples, batch_of
from .names import FLAGGED, INPUT, LOGITS, SCORE

TOLERANCE = 1e-3
"""How far a logit may be from that of `attach`, as a share of the range of all logits. Scores
likewise."""
HALF_TOLERANCE = 2e-2
"""The same of a graph that computes in float16."""


@dataclass(frozen=True)
class Answers:
    """What samples are answered.

    Attributes:
        logits: (N, classes) float32.
        flagged: (N,) bool.
        scores: (N,) float32; None where no layer detects.
    """

    logits: Tensor
    flagged: Tensor
    scores: Tensor | None


@dataclass(frozen=True)
class Comparison:
    """How near a graph is to the repaired model.

    Attributes:
        samples: how many were compared.
        logits: the largest difference, as a share of the range of all logits.
        scores: the same of the scores; None where no layer detects.
        predictions: how many samples are predicted as another class.
    """

    samples: int
    logits: float
    scores: float | None
    predictions: int


def answers_of_attached(
    model: nn.Module, handle: RepairHandle, samples: Sequence[Samples]
) -> list[Answers]:
    """Return what a model with attached corrections answers to each of the samples.

    Raises:
        FireError: the model fails on them.
    """

    def answer(inputs: Tensor) -> Answers:
        logits = logits_of(model, inputs)
        verdict = handle.verdict.on_cpu()
        return Answers(logits, verdict.flagged, verdict.scores)

    return _answers(answer, samples, "answering with attach")


def compare_graph(
    graph: bytes, samples: Sequence[Samples], attached: Sequence[Answers], *, half: bool = False
) -> Comparison:
    """Run a graph on samples, and refuse one that answers otherwise than the repaired model.

    Args:
        graph: contents of an ONNX file.
        samples: what to run it on.
        attached: what the repaired model answers to each of them.
        half: whether the graph computes in float16.

    Raises:
        ExportError: ONNX Runtime cannot run it; a flag differs, or a logit or a score differs by
            more than the tolerance.
    """
    session = open_session(graph)
    answers = _answers(partial(run_graph, session), samples, "comparing in ONNX Runtime")
    found, expected = _joined(answers), _joined(attached)
    logits = _difference(found.logits, expected.logits)
    scores = None
    if expected.scores is not None and found.scores is not None:
        scores = _difference(found.scores, expected.scores)
    count = len(expected.logits)
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    wrong = int((found.flagged != expected.flagged).sum())
    problems = [
        f"{wrong} of {count} samples are flagged otherwise" if wrong else "",
        _beyond("logits", logits, tolerance),
        "" if scores is None else _beyond("scores", scores, tolerance),
    ]
    if any(problems):
        raise ExportError(
            "the graph does not answer as attach does, so it is not written: "
            + "; ".join(filter(None, problems))
        )
    predictions = int((found.logits.argmax(1) != expected.logits.argmax(1)).sum())
    return Comparison(count, logits, scores, predictions)


def open_session(graph: bytes) -> onnxruntime.InferenceSession:
    """Return ONNX Runtime's session of a graph, on the CPU.

    Raises:
        ExportError: it cannot run it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"ONNX Runtime does not take the graph: {first_line(error)}") from error


def run_graph(session: onnxruntime.InferenceSession, inputs: Tensor) -> Answers:
    """Return what a graph answers to inputs, (N, *S).

    Raises:
        ExportError: it fails.
    """
    names = [output.name for output in session.get_outputs()]
    try:
        values: list[np.ndarray] = session.run(names, {INPUT: inputs.numpy()})
    except Exception as error:
        raise ExportError(f"ONNX Runtime fails to run the graph: {first_line(error)}") from error
    found = {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
    return Answers(found[LOGITS], found[FLAGGED], found.get(SCORE))


def _answers(
    answer: Callable[[Tensor], Answers], samples: Sequence[Samples], title: str
) -> list[Answers]:
    """Return the answers to each of the samples, in batches of several sizes: the first is of 1."""
    answers = []
    with Progress(title, sum(map(len, samples))) as progress:
        for each in samples:
            parts, start, length = [], 0, 1
            while start < len(each):
                stop = min(start + length, len(each))
                parts.append(answer(each.load(range(start, stop))))
                progress.advance(stop - start)
                start, length = stop, batch_of(each.description)
            answers.append(_joined(parts))
    return answers


def _joined(parts: Sequence[Answers]) -> Answers:
    scores = [part.scores for part in parts if part.scores is not None]
    return Answers(
        torch.cat([part.logits for part in parts]),
        torch.cat([part.flagged for part in parts]),
        torch.cat(scores) if scores else None,
    )


def _difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference as a share of the range; infinite where it is no number."""
    if found.shape != expected.shape:
        return float("inf")
    span = (expected.max() - expected.min()).clamp(min=torch.finfo(torch.float32).tiny)
    share = float(((found - expected).abs() / span).max())
    return share if share == share else float("inf")


def _beyond(name: str, share: float, tolerance: float) -> str:
    if share <= tolerance:
        return ""
    return f"{name} differ by {share:.2g} of their range, expected at most {tolerance:g}"
