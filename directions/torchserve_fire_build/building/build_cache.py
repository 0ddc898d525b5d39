"""The cache of one build: its steps are those of the same model, samples, options and code."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

import torchserve_fire
from torchserve_fire.format.tensor_digest import tensor_bytes, tensor_sha256
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.model.state_digest import state_digest
from torchserve_fire.repair.layers import device_of

from ..common.step_cache import NO_CACHE, StepCache
from ..estimate.detectors import DETECTORS
from ..estimate.registry import REPAIRS
from ..measure.observation import PREDICTIONS
from ..samples.evidence import Evidence
from ..samples.predict import logits_of
from ..samples.samples import Samples, iterate
from .build_options import BuildOptions

logger = logging.getLogger(__name__)

LIBRARIES = ("torch", "numpy", "Pillow")

TRIED = 8
"""Samples of each kind whose logits stand for what the model's code does, beside its text."""


def cache_of(
    loaded: LoadedModel, evidence: Evidence, options: BuildOptions, names_file: Path | None
) -> StepCache:
    """Return where the steps of a build are kept.

    Args:
        loaded: the model.
        evidence: the samples; all of them are read.
        options: what the user decided; without a `cache`, nothing is kept.
        names_file: TorchServe's `index_to_name.json`, if there is one.

    Raises:
        FireError: the samples cannot be read, the model fails, or its weights have no digest.
    """
    if options.cache is None:
        return NO_CACHE
    decided = {field.name: getattr(options, field.name) for field in fields(options)}
    del decided["cache"]
    decided["layers"] = None if options.layers is None else list(options.layers)
    decided["repairs"] = None if options.repairs is None else sorted(options.repairs)
    said = {
        "code": _code(),
        "added": sorted(set(_sources(_added()))),
        "libraries": {name: version(name) for name in LIBRARIES},
        "machine": platform.machine(),
        "model": _model(loaded, evidence),
        "samples": [_samples(samples) for samples in evidence.both],
        "partners": list(evidence.partners),
        "origins": list(evidence.origins),
        "names": _text(names_file),
        "options": decided,
    }
    text = json.dumps(said, sort_keys=True)
    found = StepCache(options.cache, hashlib.sha256(text.encode()).hexdigest())
    if found.holds(PREDICTIONS):
        logger.info("cache: %s: going on from the steps that it holds", options.cache)
    return found


def _text(file: Path | None) -> str | None:
    """Return a file's bytes in hexadecimal digits; whoever needs it says that it is not there."""
    return None if file is None or not file.is_file() else file.read_bytes().hex()


@cache
def _code() -> str:
    """Return a digest of the text of both packages."""
    digest = hashlib.sha256()
    for folder in (Path(torchserve_fire.__file__).parent, Path(__file__).parents[1]):
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder)}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _added() -> Iterator[Any]:
    """Yield the repairs and detectors; those that other packages add have a text of their own."""
    for registry in (REPAIRS, DETECTORS):
        for entry in registry.values():
            yield inspect.unwrap(entry)


def _sources(of: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the digest of the files that define classes or functions, if known."""
    for each in of:
        try:
            file = inspect.getsourcefile(each)
            text = None if file is None else Path(file).read_bytes()
        except (TypeError, OSError):
            continue
        if text is not None:
            yield f"{each.__module__}.{each.__qualname__}", hashlib.sha256(text).hexdigest()


def _model(loaded: LoadedModel, evidence: Evidence) -> dict[str, Any]:
    model = loaded.model
    rows = [range(min(TRIED, len(samples))) for samples in evidence.both]
    return {
        "state": state_digest(model),
        "modules": [
            (name, type(module).__qualname__, module.extra_repr())
            for name, module in model.named_modules()
        ],
        "sources": sorted(set(_sources(_own_classes(model)))),
        "device": device_of(model).type,
        "logits": [
            tensor_sha256(logits_of(model, samples.load(some)))
            for samples, some in zip(evidence.both, rows, strict=True)
        ],
    }


def _own_classes(model: nn.Module) -> set[type[nn.Module]]:
    """Return the classes of a model's modules that are not torch's, whose version is known."""
    root = torch.__name__ + "."
    return {
        type(module) for module in model.modules() if not type(module).__module__.startswith(root)
    }


def _samples(samples: Samples) -> dict[str, Any]:
    content = hashlib.sha256()
    for _, batch in iterate(samples, range(len(samples))):
        content.update(f"{batch.dtype} {tuple(batch.shape)}\n".encode())
        content.update(tensor_bytes(batch))
    return {
        "content": content.hexdigest(),
        "names": list(samples.names),
        "class_names": None if samples.class_names is None else list(samples.class_names),
        "labels": None if samples.labels is None else samples.labels.tolist(),
        "numbered": samples.numbered,
        "names_file": _text(samples.names_file),
        "input": asdict(samples.description),
    }
