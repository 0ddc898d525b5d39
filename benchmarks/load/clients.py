"""Clients of a running server, for many requests at a time: REST and gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import grpc

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.server.torchserve import TorchServe

from .grpc_stubs import load_stubs

TIMEOUT_SECONDS = 120.0

Send = Callable[[str, bytes], Awaitable[None]]
"""Sends a body to a model; raises FireError unless it is answered with a prediction."""


@asynccontextmanager
async def rest_client(server: TorchServe) -> AsyncIterator[Send]:
    """Open a client that keeps its connections."""
    headers = {"Authorization": f"Bearer {server.tokens.inference}"}
    timeout = aiohttp.ClientTimeout(TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        server.addresses.inference, headers=headers, timeout=timeout, connector=connector
    ) as session:

        async def send(model: str, body: bytes) -> None:
            try:
                async with session.post(f"/predictions/{model}", data=body) as answer:
                    text = await answer.text()
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                raise FireError(f"{model}: no answer: {error!r}") from None
            if answer.status != 200:
                raise FireError(f"{model}: status {answer.status}, expected 200: {text[:200]}")

        yield send


@asynccontextmanager
async def grpc_client(server: TorchServe) -> AsyncIterator[Send]:
    """Open a client that sends everything over one channel."""
    stubs = load_stubs()
    metadata = (("authorization", f"Bearer {server.tokens.inference}"),)
    async with grpc.aio.insecure_channel(server.addresses.grpc_inference) as channel:
        stub = stubs.inference_pb2_grpc.InferenceAPIsServiceStub(channel)

        async def send(model: str, body: bytes) -> None:
            request = stubs.inference_pb2.PredictionsRequest(model_name=model, input={"data": body})
            try:
                answer = await stub.Predictions(request, metadata=metadata, timeout=TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                raise FireError(f"{model}: no answer: {error!r}") from None
            # A refusal has no status there, but a body that says so.
            if "code" in json.loads(answer.prediction):
                raise FireError(f"{model}: expected a prediction: {answer.prediction[:200]!r}")

        yield send


CLIENTS = {"REST": rest_client, "gRPC": grpc_client}
"""Each protocol's client."""
