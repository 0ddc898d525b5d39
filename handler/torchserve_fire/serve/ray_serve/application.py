"""The application for Ray Serve: replicas of one archive's model, each with repair."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve
from ray.serve import Application
from starlette.applications import Starlette

from ...core.answer import Answer
from ...core.open_model import open_model
from ...errors import ConfigError, FireError
from .arguments import Arguments, read_arguments, read_user_config
from .http_app import Replica, http_app
from .inference_service import InferenceService
from .log_to_ray import log_to_ray
from .ray_metrics import ray_metrics

logger = logging.getLogger(__name__)

WAITING = 100
"""Requests that a replica has at most, as TorchServe's queue of jobs; and as many wait at each
proxy before Ray Serve refuses more with 503. Its own default, 5, would keep batches small."""


def app(args: Mapping[str, Any]) -> Application:
    """Return the application, for `import_path: torchserve_fire.ray:app`.

    Args:
        args: `archive`, and what else `Arguments` has.

    Raises:
        ConfigError: something is unknown, missing, or has a wrong value.
    """
    deployment = serve.deployment(max_ongoing_requests=WAITING, max_queued_requests=WAITING)
    return deployment(serve.ingress(_paths)(FireModel)).bind(read_arguments(args))


def _this_replica() -> Replica:
    replica: Replica = serve.get_replica_context().servable_object
    return replica


def _paths() -> Starlette:
    return http_app(_this_replica)


class FireModel(InferenceService):
    """One replica. It starts only if the repair works, and answers in batches.

    Args:
        arguments: of the application.

    Raises:
        FireError: the archive cannot be served with repair.
    """

    def __init__(self, arguments: Arguments) -> None:
        log_to_ray()
        self.answers_other_machines = arguments.answers_other_machines
        archive, keys = arguments.archive, arguments.trusted_keys
        try:
            self._model = open_model(archive, metrics=ray_metrics(), trusted_keys=keys)
        except FireError as error:
            # Ray Serve tells it at the end of a long traceback.
            logger.error("torchserve-fire does not serve %s: %s", archive, error)
            raise
        batching = self._model.batching
        self._in_batch = serve.batch(
            max_batch_size=batching.size, batch_wait_timeout_s=batching.delay_seconds
        )(self._answer)
        # Beside the event loop, which reads the next requests meanwhile.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._one_swap = asyncio.Lock()
        self._asked: Any = None
        self._refused: str | None = None
        self._has_started = False

    @property
    def served_as(self) -> tuple[str, str]:
        """The model's name and version."""
        return self._model.name, self._model.version

    async def ask(self, body: Any, request_id: str) -> Answer:
        """Answer one request, with others that come meanwhile.

        Args:
            body: as `ServedModel.answer` takes it.
            request_id: for the log.
        """
        answer: Answer = await self._in_batch((body, request_id))
        return answer

    async def reconfigure(self, user_config: Any, rank: Any) -> None:
        """Swap to the bundle that `user_config` names, between two batches.

        What is refused leaves the bundle serving that serves. Ray Serve would stop a replica whose
        `reconfigure` raises, one after another. A replica that starts has none that serves: it
        refuses to start.

        Args:
            user_config: as `read_user_config` takes it.
            rank: the replica's; asked for, since Ray Serve then calls this also where the
                `user_config` was taken away.

        Raises:
            FireError: the replica starts, and cannot serve with that bundle.
        """
        async with self._one_swap:
            self._asked = user_config
            try:
                await asyncio.to_thread(self._swap, user_config)
            except FireError as error:
                self._refused = str(error)
                logger.error("torchserve-fire: user_config was not taken: %s", error)
                if not self._has_started:
                    raise
            else:
                self._refused = None
            self._has_started = True

    async def describe(self) -> dict[str, Any]:
        """Return what this replica serves, has counted, and made of `user_config`."""
        asked = {"asked": self._asked, "refused": self._refused}
        replica = serve.get_replica_context().replica_id.unique_id
        # Beside the event loop: a bundle may be proving itself, and that is waited for.
        described = await asyncio.to_thread(self._model.describe)
        return described | {"user_config": asked, "replica": replica}

    async def check_health(self) -> None:
        """Ask whether the model still answers; Ray Serve replaces a replica where this fails.

        It waits for the batch on its way: a model that hangs fails by Ray Serve's timeout.

        Raises:
            FireError: the model was closed, or is in training mode.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._model.answer, [])

    def __del__(self) -> None:
        """Finish the batch on its way, give the last counts, and delete what was unpacked."""
        if hasattr(self, "_model"):
            self._model.close()

    async def _answer(self, asked: list[tuple[Any, str]]) -> list[Answer]:
        bodies, request_ids = zip(*asked, strict=True)
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._model.answer, bodies, request_ids
        )

    def _swap(self, user_config: Any) -> None:
        bundle, folder = read_user_config(user_config), self._model.bundle_folder
        if folder is None:
            self._model.swap(bundle)
        elif bundle is not None:
            raise ConfigError(
                f"user_config: bundle: {bundle}: the archive takes its bundles from {folder}: put "
                "it there, or leave bundle_folder out of the archive"
            )
