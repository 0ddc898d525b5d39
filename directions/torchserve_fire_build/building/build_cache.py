"""The cache of one build: its steps are those of the same model, samples, options and code."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torchserve_fire.format.tensor_digest import tensor_bytes
from torchserve_fire.model.load_model import LoadedModel

from ..common.code_digest import describe_code, sources_of
from ..common.step_cache import NO_CACHE, StepCache
from ..estimate.detectors import DETECTORS
from ..estimate.registry import REPAIRS
from ..measure.observation import PREDICTIONS
from ..samples.describe_model import TRIED, describe_model
from ..samples.evidence import Evidence
from ..samples.samples import Samples, iterate
from .build_options import BuildOptions

logger = logging.getLogger(__name__)


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
        **describe_code(),
        "added": sorted(set(sources_of(_added()))),
        "model": describe_model(
            loaded.model,
            [samples.load(range(min(TRIED, len(samples)))) for samples in evidence.both],
        ),
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


def _added() -> Iterator[Any]:
    """Yield the repairs and detectors; those that other packages add have a text of their own."""
    for registry in (REPAIRS, DETECTORS):
        for entry in registry.values():
            yield inspect.unwrap(entry)


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
