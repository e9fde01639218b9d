"""The same predictor behind other servers, each set up as its documentation advises.

``python -m benchmarks.peers fastapi MODEL PORT``, or ``litserve``: serves until it is stopped. Both
have what TorchServe has: two workers of one thread, batches of 8, 5 ms of waiting for one. FastAPI
batches nothing by itself; here it gets a queue that does.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import litserve
import torch
import uvicorn
from fastapi import FastAPI, Request, Response

from skelift.inference.predictor import Predictor
from skelift.serving.service import JSON, Reply, Service
from skelift.serving.settings import WORKERS

BATCH, DELAY = 8, 0.005
START_SECONDS = 120
MODEL = "SKELIFT_BENCHMARK_MODEL"  # environment variable: uvicorn's workers import this module


def load_service() -> Service:
    """The model, on one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return Service(Predictor(Path(os.environ[MODEL]), runtime="onnx"))


class Batcher:
    """Requests that come within ``DELAY`` of each other, answered together."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: asyncio.Queue[tuple[bytes, asyncio.Future[Reply]]] = asyncio.Queue()

    async def ask(self, body: bytes) -> Reply:
        """Wait for the batch that this request gets into."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((body, reply))
        return await reply

    async def run(self) -> None:
        """Answer batch after batch, in a thread beside the one that speaks HTTP."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            while True:
                batch = [await self._waiting.get()]
                if self._waiting.qsize() < BATCH - 1:
                    await asyncio.sleep(DELAY)
                while len(batch) < BATCH and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                requests = [{"body": body} for body, _ in batch]
                replies = await loop.run_in_executor(thread, self._service, requests)
                for (_, reply), answer in zip(batch, replies, strict=True):
                    reply.set_result(answer)


def fastapi_app() -> FastAPI:
    """One worker of uvicorn."""
    batcher = Batcher(load_service())

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        batches = asyncio.create_task(batcher.run())
        yield
        batches.cancel()

    app = FastAPI(lifespan=life)

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        reply = await batcher.ask(await request.body())
        return Response(reply.body, reply.status, media_type=JSON)

    return app


class PoseAPI(litserve.LitAPI):  # type: ignore[misc] # litserve has no types
    """One worker of LitServe."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.service = load_service()

    def decode_request(self, request: Request) -> Any:
        """JSON, which LitServe has read."""
        return request

    def batch(self, inputs: list[Any]) -> list[Any]:
        """A batch is a list."""
        return list(inputs)

    def predict(self, x: list[Any]) -> list[Reply]:
        """Answer a batch."""
        return self.service([{"body": body} for body in x])

    def unbatch(self, output: list[Reply]) -> list[Reply]:
        """A batch is a list."""
        return output

    def encode_response(self, output: Reply) -> Response:
        """The answer as it is: its JSON is not made twice."""
        return Response(output.body, output.status, media_type=JSON)


def main() -> None:
    """Serve."""
    name, model, port = sys.argv[1:]
    os.environ[MODEL] = model
    if name == "fastapi":
        uvicorn.run(
            "benchmarks.peers:fastapi_app",
            factory=True,
            host="127.0.0.1",
            port=int(port),
            workers=WORKERS,
            timeout_worker_healthcheck=START_SECONDS,  # the default 5 s kills it while it loads
            loop="uvloop",
            http="httptools",
            log_level="warning",
            access_log=False,
        )
    else:
        api = PoseAPI(max_batch_size=BATCH, batch_timeout=DELAY)
        server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=WORKERS)
        server.run(
            host="127.0.0.1",
            port=int(port),
            num_api_servers=1,  # more cost CPU time and gain nothing on two cores
            log_level="warning",
            access_log=False,
            generate_client_file=False,
        )


if __name__ == "__main__":
    main()
