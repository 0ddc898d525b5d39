"""Some samples of a pool, of which nobody knows the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from ..samples.samples import Samples
from ..samples.subset import Subset


class UnlabelledSamples(Subset):
    """Some of a pool's samples.

    A training set's labels are those that the attacker wrote, so that the pool's folders are not
    taken for classes. The names are changed, so that no sample makes a pair with one of the same
    name in another folder.

    Args:
        pool: the whole pool.
        indices: which of it.
    """

    def __init__(self, pool: Samples, indices: Sequence[int]) -> None:
        super().__init__(pool, indices)
        # Names in a folder are relative, whatever its subfolders are called.
        self.names = [str(PurePosixPath("/pool", name)) for name in self.names]
        self.class_names = None
        self.labels = None
