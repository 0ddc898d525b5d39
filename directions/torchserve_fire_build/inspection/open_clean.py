"""The clean samples of an inspection, or none, as the model's archive or files read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..common.errors import CalibrationError
from ..common.names import SCAN
from ..samples.samples import Samples
from ..samples.tensor_samples import empty_samples
from ..source.model_source import ModelSource
from ..token_search.token_subject import takes_tokens


def open_clean(source: ModelSource, clean: Path | None, methods: Sequence[str]) -> Samples:
    """Open the clean samples of an inspection.

    Args:
        source: the model.
        clean: clean samples, as users give them; None for methods that do without.
        methods: names of the methods.

    Returns:
        The samples; empty ones where none were given.

    Raises:
        FireError: the samples cannot be used, or the model takes what cannot be searched.
    """
    if clean is None and source.input_kind not in ("image", "integers"):
        raise CalibrationError(
            f"--method {' '.join(methods)}: expected --clean samples of a model whose input is no "
            "image: only images can be recovered from a model"
        )
    if source.input_kind != "integers":
        samples: Samples = (
            empty_samples(source.describe_input()) if clean is None else source.open_samples(clean)
        )
    if source.input_kind == "integers" or (
        samples.description.kind == "integers" and not takes_tokens(samples.description)
    ):
        raise CalibrationError(
            f"{source.where}: input: integers: a search changes its inputs little by little, and "
            "integers cannot be, unless an archive's own handler makes tokens of texts"
        )
    others = [method for method in methods if method != SCAN]
    if takes_tokens(samples.description) and others:
        raise CalibrationError(
            f"--method {' '.join(others)}: expected --method {SCAN} of texts, the only one that "
            "searches for tokens"
        )
    return samples
