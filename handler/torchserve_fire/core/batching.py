"""How a server is to make batches of the requests to a model, as its archive says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..format.fields import Fields
from ..model.config import read_settings

MILLISECONDS = 1000.0


@dataclass(frozen=True)
class Batching:
    """What stands in `model-config.yaml` beside `handler:`; the defaults are TorchServe's.

    Attributes:
        size: how many requests one forward pass answers at most (`batchSize`).
        delay_seconds: how long the first of them waits for others (`maxBatchDelay`, in ms there).
        queue: how many requests wait at most; more are refused with 503 (`jobQueueSize`).
    """

    size: int = 1
    delay_seconds: float = 0.1
    queue: int = 100


ONE_BY_ONE = Batching()
"""Of a model whose archive says nothing."""


def read_batching(config: Path) -> Batching:
    """Return how batches are to be made.

    Args:
        config: the archive's `model-config.yaml`.

    Raises:
        ConfigError: it cannot be read, or a number in it is none.
    """
    fields = Fields(read_settings(config), str(config), ConfigError)
    size, queue, delay = ONE_BY_ONE.size, ONE_BY_ONE.queue, ONE_BY_ONE.delay_seconds
    if fields.has("batchSize"):
        size = fields.integer("batchSize", minimum=1)
    if fields.has("maxBatchDelay"):
        delay = fields.integer("maxBatchDelay", minimum=0) / MILLISECONDS
    if fields.has("jobQueueSize"):
        queue = fields.integer("jobQueueSize", minimum=1)
    return Batching(size, delay, queue)
