"""The cache of one scan: its steps are those of the same model, inputs, seed and code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torchserve_fire.format.tensor_digest import tensor_sha256

from ..common.code_digest import describe_code
from ..common.step_cache import NO_CACHE, StepCache
from ..reconstruct.subject import Subject
from ..samples.describe_model import TRIED, describe_model


def scan_cache(folder: Path | None, subject: Subject, seed: int) -> StepCache:
    """Return where the steps of a scan are kept.

    Args:
        folder: the cache; None to keep nothing.
        subject: the model, and the clean inputs; without hooks that change what it returns.
        seed: of the random numbers.

    Raises:
        FireError: the model's weights have no digest.
    """
    if folder is None:
        return NO_CACHE
    tensors = (subject.inputs, subject.predicted, subject.box.low, subject.box.high)
    said = {
        **describe_code(),
        "scan": [subject.classes, subject.box.levels, seed],
        "model": describe_model(subject.model, [subject.inputs[:TRIED]]),
        "inputs": [tensor_sha256(tensor.cpu()) for tensor in tensors],
    }
    text = json.dumps(said, sort_keys=True)
    return StepCache(folder, hashlib.sha256(text.encode()).hexdigest())
