"""Loading and unloading over the network, which the SDK lets anyone do who reaches its port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from kserve.errors import InvalidInput, ModelNotFound
from kserve.model_repository import ModelRepository
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from ...core.served_model import ServedModel


class NotUnloadedError(NotImplementedError):
    """A model is not unloaded on a request; over REST it is a 501.

    Attributes:
        reason: what the SDK tells clients over gRPC.
    """

    reason = "a model is served until its server ends"


class FireRepository(ModelRepositoryExtension):  # type: ignore[misc]
    """Lets a request bring in what already lies on the server, and nothing else.

    Args:
        registry: the SDK's.
        served: the model.
    """

    def __init__(self, registry: ModelRepository, served: ServedModel) -> None:
        super().__init__(registry)
        self._served = served

    async def load(self, model_name: str) -> Mapping[str, Any]:
        """Take the newest bundle of the model's folder now, where its settings name a folder.

        Raises:
            ModelNotFound: another model is meant.
            InvalidInput: that bundle is not taken; the log says why.
        """
        if model_name != self._served.name:
            raise ModelNotFound(model_name)
        described = await asyncio.to_thread(self._served.describe)
        if (described.get("bundle_folder") or {}).get("refused"):
            raise InvalidInput(
                f"{model_name} does not take the newest bundle of its folder, and goes on with the "
                "one before: the server's log says why"
            )
        return {"name": model_name, "load": True}

    async def unload(self, model_name: str) -> None:
        """Refuse: a model that is gone answers nobody."""
        raise NotUnloadedError(NotUnloadedError.reason)
