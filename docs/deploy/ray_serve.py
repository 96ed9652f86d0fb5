"""A network on Ray Serve: replicas on a cluster, requests gathered into batches.

    pip install "netspec-runner[ray]" "ray[serve]"
    serve run --app-dir docs/deploy ray_serve:app network=configs/lenet5.yaml
    curl --data-binary @images.npy http://127.0.0.1:8000/ --output probabilities.npy

A request is one .npy array for the network's only input, rows first; the answer is the .npy of its only
output. From Python, without HTTP: `serve.get_app_handle("default").compute.remote(array).result()`.
"""

from __future__ import annotations

import asyncio
import io
import os
from typing import Any

import numpy as np
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

import netspec

MAX_BYTES = 64 << 20
"""Of a request's body."""


@serve.deployment(num_replicas=2, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class NetspecDeployment:
    """One copy of the network."""

    def __init__(self, network: str, runner: str | None = None) -> None:
        self.net = netspec.load(network, runner=runner, threads=1)
        (self.input,) = self.net.spec.inputs  # one input and one output: `netspec serve` takes more
        if len(self.net.wanted()) != 1:
            raise ValueError(f"{network} has several outputs")

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def compute(self, arrays: list[np.ndarray]) -> list[Any]:
        """The outputs of several requests, or the error of each; arrays of one shape of row go together."""
        answers: list[Any] = [None] * len(arrays)
        groups: dict[Any, list[int]] = {}
        for i, array in enumerate(arrays):
            alone = i if array.ndim == 0 else None  # it is refused, but by itself
            groups.setdefault((array.shape[1:], array.dtype.str, alone), []).append(i)
        for members in groups.values():
            found = await asyncio.to_thread(self._run, [arrays[i] for i in members])
            for i, answer in zip(members, found, strict=True):
                answers[i] = answer
        return answers

    def _run(self, arrays: list[np.ndarray]) -> list[Any]:
        try:
            if len(arrays) == 1:
                return [self.net(arrays[0])]
            rows = self.net(np.concatenate(arrays))
            return np.split(rows, np.cumsum([len(a) for a in arrays])[:-1])
        except netspec.NetspecError as error:
            return [error] * len(arrays)

    async def __call__(self, request: Request) -> Response:
        """HTTP: .npy in, .npy out; 400 for what is no array or does not fit the network."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                return Response(f"more than {MAX_BYTES} bytes\n", 413)
        try:
            array = np.load(io.BytesIO(body), allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return Response("expected the bytes of a .npy file that holds numbers\n", 400)
        answer = await self.compute(array)
        if isinstance(answer, netspec.NetspecError):
            return Response(f"{answer}\n", 400)
        data = io.BytesIO()
        np.save(data, answer, allow_pickle=False)
        return Response(data.getvalue(), media_type="application/octet-stream")


def app(args: dict[str, str]) -> serve.Application:
    """The application of `serve run`: network=FILE, and runner=PROFILE if wanted."""
    paths = {key: os.path.abspath(value) for key, value in args.items()}
    return NetspecDeployment.bind(**paths)  # type: ignore[attr-defined]
