"""Tiny model servers that answer the Open Inference Protocol over gRPC, and its real client through the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import numpy as np
import tritonclient.grpc.aio as triton
from perennial_gateway.model import Backend as Arm
from perennial_gateway.model import Endpoint
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

CALL = "/inference.GRPCInferenceService/ModelInfer"
HTTP_PORT = 9
"""Nobody answers HTTP/1.1 here: these servers only speak gRPC."""


@dataclass
class GrpcBackend(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """One running server; `code` is what it answers, after `delay_s`; `seen` is what it was sent."""

    name: str
    code: grpc.StatusCode = grpc.StatusCode.OK
    delay_s: float = 0.0
    port: int = 0
    requests: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list, repr=False)
    server: grpc.aio.Server | None = field(default=None, repr=False)

    def arm(self, weight_percent: int) -> Arm:
        """Return the revision that this server serves alone."""
        return Arm(self.name, weight_percent, (Endpoint("127.0.0.1", HTTP_PORT),), grpc_port=self.port)

    async def ModelInfer(  # noqa: N802  the protocol's name
        self, request: pb.ModelInferRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ModelInferResponse:
        self.requests += 1
        told = {"size_bytes": request.ByteSize(), "left_s": context.time_remaining()}
        self.seen.append(dict(context.invocation_metadata() or ()) | told)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        # A server that forges the gateway's headers must not get through.
        await context.send_initial_metadata((("x-model-revision", "forged"), ("x-prediction-id", "forged")))
        if self.code is not grpc.StatusCode.OK:
            await context.abort(self.code, f"{self.name} says no")
        return pb.ModelInferResponse(model_name=self.name, id=request.id)

    async def start(self) -> None:
        self.server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()

    async def stop(self) -> None:
        if self.server:
            await self.server.stop(None)
            self.server = None


@asynccontextmanager
async def speaking(name: str, code: grpc.StatusCode = grpc.StatusCode.OK) -> AsyncIterator[GrpcBackend]:
    backend = GrpcBackend(name, code)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


@asynccontextmanager
async def client(address: str, authority: str = "wine.shop") -> AsyncIterator[triton.InferenceServerClient]:
    """Triton's client; the authority tells the gateway which model is meant."""
    async with triton.InferenceServerClient(
        address, channel_args=[("grpc.default_authority", authority)]
    ) as got:
        yield got


def build_inputs(size_bytes: int = 16) -> list[Any]:
    given = triton.InferInput("x", [size_bytes // 8], "FP64")
    given.set_data_from_numpy(np.zeros(size_bytes // 8))
    return [given]


async def infer(client: triton.InferenceServerClient, **options: Any) -> str:
    """Return which server has answered, or the status of the refusal."""
    options = {"inputs": build_inputs()} | options
    try:
        answer = await client.infer("wine", **options)
    except triton.InferenceServerException as error:
        return error.status().removeprefix("StatusCode.")
    return str(answer.get_response().model_name)
