"""docs/deploy: the files agree with each other and with the command line, and the Ray Serve one serves."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import netspec

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "docs" / "deploy"


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, rest) of each, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [(line.split()[0], line.partition(" ")[2]) for line in text.splitlines() if line.strip()]


def test_the_image_starts_the_server_that_kserve_asks() -> None:
    instructions = dockerfile()
    entry = json.loads(dict(instructions)["ENTRYPOINT"])
    (container,) = yaml.safe_load((DEPLOY / "kserve.yaml").read_text())["spec"]["predictor"]["containers"]
    assert container["name"] == "kserve-container"  # by this name KServe finds it
    port = entry[entry.index("--port") + 1]
    assert entry[entry.index("--host") + 1] == "0.0.0.0"
    assert str(container["ports"][0]["containerPort"]) == port == dict(instructions)["EXPOSE"]
    for probe, path in (("readinessProbe", "/v2/health/ready"), ("livenessProbe", "/v2/health/live")):
        assert container[probe]["httpGet"] == {"path": path, "port": int(port)}
    command = [sys.executable, "-m", *entry[:2], "--help"]
    shown = subprocess.run(
        command, capture_output=True, text=True, timeout=90, env={**os.environ, "COLUMNS": "200"}
    )
    assert shown.returncode == 0, shown.stderr
    for flag in (word for word in entry if word.startswith("--")):
        assert flag in shown.stdout
    assert all(argument.startswith("/mnt/models/") for argument in container["args"])


def test_what_the_image_copies_is_there_and_its_extra_exists() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for instruction, rest in dockerfile():
        if instruction == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest
        for extra in re.findall(r"\[(\w+)\]\"", rest) if instruction == "RUN" else ():
            assert extra in project["optional-dependencies"]
    assert f":{project['version']}" in (DEPLOY / "kserve.yaml").read_text()


SERVE = """
import signal, socket, sys
sys.path.insert(0, {folder!r})
import ray
from ray import serve
import ray_serve
ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
serve.start(http_options={{"host": "127.0.0.1", "port": port}})
serve.run(ray_serve.app({{"network": {network!r}}}))
print("port", port, flush=True)
sys.stdin.read()
serve.shutdown()
"""


@pytest.mark.external
@pytest.mark.xdist_group("ray")
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("ray", "starlette", "fastapi")),
    reason="ray[serve] is not installed",
)
def test_ray_serve_answers_as_the_network_does() -> None:
    network = ROOT / "configs" / "lenet5.yaml"
    code = SERVE.format(folder=str(DEPLOY), network=str(network))
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, start_new_session=True, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    with started as process, killed_at_the_end(process):
        assert process.stdout is not None
        port = next(line.split()[1] for line in process.stdout if line.startswith("port "))
        net = netspec.load(network)
        rng = np.random.default_rng(0)
        inputs = [rng.random((1 + i % 3, 1, 28, 28), np.float32) for i in range(60)]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda array: post(port, array), inputs))
        for array, (status, answer) in zip(inputs, answers, strict=True):
            assert status == 200
            np.testing.assert_allclose(np.load(io.BytesIO(answer)), net(array), rtol=1e-5, atol=1e-6)
        status, message = post(port, np.zeros((1, 3, 28, 28), "f4"))
        assert (status, b"axis 1 is 1" in message) == (400, True)
        assert post(port, b"hello")[0] == 400
        process.communicate("", timeout=60)
        assert process.returncode == 0


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    """Also what it has started, if it is still there."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def post(port: str, body: Any) -> tuple[int, bytes]:
    if not isinstance(body, bytes):
        file = io.BytesIO()
        np.save(file, body)
        body = file.getvalue()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=body, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
