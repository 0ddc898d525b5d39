"""The archives that patterns name."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from torchserve_fire.errors import FireError


def find_archives(patterns: Sequence[str]) -> list[Path]:
    """Return the archives, each once, those of a pattern sorted.

    Args:
        patterns: paths, or patterns with `*`, `?`, `[...]` or `**`, which a shell left as they are.

    Raises:
        FireError: one of them names nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        # A name with brackets of its own is no pattern.
        paths = [pattern]
        if not Path(pattern).exists():
            # Path.glob takes no absolute patterns.
            paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not paths:
            raise FireError(
                f"--archives {pattern}: no such file, expected archives, or a pattern in quotes "
                "such as 'model_store/*.mar'"
            )
        found.update(dict.fromkeys(map(Path, paths)))
    return list(found)
