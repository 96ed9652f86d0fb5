"""How a service starts, changes its models, and ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.network import Network
from tests.service.conftest import Gate
from tests.service.running import (
    LENET,
    PATIENCE,
    ROOT,
    SIAMESE,
    Running,
    arrays_of,
    eventually,
    infer,
    serving,
    write_network,
)

ONE = np.ones((1, 2), "f4")


def scaled(path: Path, other: float, name: str | None = None) -> Path:
    """A network that multiplies by a number, written beside and renamed."""
    part = path.with_suffix(".part")
    part.write_text(
        f"netspec: 1\nname: {name or path.stem}\ninputs: {{x: [N, 2]}}\n"
        f"layers: [{{name: y, type: mul, other: {other}}}]\n",
        encoding="utf-8",
    )
    os.replace(part, path)
    return path


def factor(service: Running, name: str = "net", version: str = "") -> float:
    """What the network multiplies by."""
    model = f"{name}/versions/{version}" if version else name
    return float(arrays_of(infer(service, model, {"x": ONE}))["y"][0, 0])


# --- good models and bad ones -----------------------------------------------------------------------


def test_a_bad_model_does_not_take_down_the_good_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("netspec: 1\ninputs: {x: [N, 2]}\nlayers:\n  - {type: Linaer}\n", encoding="utf-8")
    missing = tmp_path / "missing.yaml"
    with serving(scaled(tmp_path / "net.yaml", 3), bad, missing) as service:
        assert service.get("/v2/health/ready").status == 200
        assert factor(service) == 3
        for name in ("bad", "missing"):
            assert service.get(f"/v2/models/{name}/ready").status == 503
            answer = infer(service, name, {"x": ONE})
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert str(tmp_path) not in answer.json["error"]
        states = {m["name"]: (m["state"], m["reason"]) for m in service.post("/v2/repository/index", {}).json}
        assert states["net"] == ("READY", "")
        assert states["bad"] == ("UNAVAILABLE", "its files are wrong; the server's log says where")
        assert [m["name"] for m in service.post("/v2/repository/index", {"ready": True}).json] == ["net"]
        metrics = service.get("/metrics").body.decode()
        assert 'netspec_model_ready{model="net",version="1"} 1.0' in metrics
        assert 'netspec_model_ready{model="bad",version="1"} 0.0' in metrics
    assert f"{bad}:4:12" in caplog.text
    assert "did you mean `Linear`" in caplog.text
    assert "no such file" in caplog.text


def test_not_ready_while_models_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, load = threading.Event(), netspec.load

    def slow(*args: Any, **options: Any) -> Network:
        assert go.wait(PATIENCE)
        return load(*args, **options)

    monkeypatch.setattr(netspec, "load", slow)
    with serving(scaled(tmp_path / "net.yaml", 3), ready=False) as service:
        assert service.get("/v2/health/live").status == 200
        assert service.get("/v2/health/ready").status == 503
        answer = infer(service, "net", {"x": ONE})
        assert (answer.status, "not loaded yet" in answer.json["error"]) == (503, True)
        go.set()
        eventually(lambda: service.get("/v2/health/ready").status == 200, "it does not get ready")
        assert factor(service) == 3


def test_versions(tmp_path: Path) -> None:
    """By the order on the command line, or the folder's number; the newest that answers is the default."""
    paths = [scaled(tmp_path / f"{name}.yaml", number, "net") for name, number in (("a", 1), ("b", 2))]
    (tmp_path / "7").mkdir()
    paths.append(scaled(tmp_path / "7" / "net.yaml", 7))
    with serving(*paths, model_control=True) as service:
        assert service.get("/v2/models/net").json["versions"] == ["1", "2", "7"]
        assert [factor(service, version=version) for version in ("", "1", "2", "7")] == [7, 1, 2, 7]
        paths[2].write_text("no network", encoding="utf-8")
        assert service.post("/v2/repository/models/net/load", {}).status == 400
        assert factor(service) == 7  # the old one is kept
    with serving(*paths) as service:
        assert factor(service) == 2


def test_two_files_of_one_name_and_version_are_refused(tmp_path: Path) -> None:
    for folder in ("x/1", "y/1"):
        (tmp_path / folder).mkdir(parents=True)
    paths = [scaled(tmp_path / folder / "net.yaml", 1) for folder in ("x/1", "y/1")]
    with pytest.raises(netspec.NetspecError, match="both version 1 of the model net"), serving(*paths):
        pass
    slash = scaled(tmp_path / "z.yaml", 1, '"a/b"')
    with pytest.raises(netspec.NetspecError, match="has a slash"), serving(slash):
        pass


# --- models that change -----------------------------------------------------------------------------


def test_a_changed_file_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong one is not: the old network answers until a right one is there."""
    path = scaled(tmp_path / "net.yaml", 3)
    with serving(path, reload_seconds=0.02) as service:
        assert factor(service) == 3
        scaled(path, 4)
        eventually(lambda: factor(service) == 4, "the new network does not answer")
        path.write_text("netspec: 1\nlayers: []\n", encoding="utf-8")
        eventually(lambda: "the old one is kept" in caplog.text, "the wrong file is not looked at")
        assert factor(service) == 4
        scaled(path, 5, "other")
        eventually(lambda: "its name is now other" in caplog.text, "the new name is not noticed")
        assert factor(service) == 4
        scaled(path, 6)
        eventually(lambda: factor(service) == 6, "the right file is not loaded")
        metrics = service.get("/metrics").body.decode()
        assert 'netspec_model_reloads_total{model="net",result="success",version="1"} 2.0' in metrics
        assert 'netspec_model_reloads_total{model="net",result="failure",version="1"} 2.0' in metrics


def test_changed_weights_and_included_files_are_loaded(tmp_path: Path) -> None:
    linear = {
        "inputs": {"x": ["N", 2]},
        "layers": [{"name": "y", "type": "Linear", "out_features": 1, "bias": False}],
    }
    path = write_network(tmp_path / "net.yaml", linear, {"y.weight": np.full((1, 2), 2.0, "f4")})
    blocks = tmp_path / "blocks.yaml"
    including = tmp_path / "including.yaml"
    text = "netspec: 1\nblocks: {B: {layers: [{name: y, type: mul, other: NUMBER}]}}\n"
    blocks.write_text(text.replace("NUMBER", "2"), encoding="utf-8")
    including.write_text(
        "netspec: 1\ninclude: [blocks.yaml]\ninputs: {x: [N, 2]}\nlayers: [{name: y, block: B}]\n",
        encoding="utf-8",
    )
    with serving(path, including, reload_seconds=0.02) as service:
        assert (factor(service), factor(service, "including")) == (4, 2)
        net = netspec.load(path, weights={"y.weight": np.full((1, 2), 5.0, "f4")})
        net.save(tmp_path / "other.yaml")
        os.replace(tmp_path / "other.safetensors", tmp_path / "net.safetensors")
        eventually(lambda: factor(service) == 10, "the new weights are not loaded")
        blocks.write_text(text.replace("NUMBER", "7"), encoding="utf-8")
        eventually(lambda: factor(service, "including") == 7, "the included file is not loaded")


def test_requests_during_a_reload_get_the_old_network_or_the_new(tmp_path: Path) -> None:
    path = scaled(tmp_path / "net.yaml", 1)
    found: list[float] = []
    with serving(path, reload_seconds=0.01) as service:
        end = threading.Event()

        def ask() -> None:
            while not end.is_set():
                found.append(factor(service))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        for number in (2, 3, 4):
            scaled(path, number)
            eventually(lambda number=number: found[-1:] == [number], "the new network does not answer")
        end.set()
        for client in clients:
            client.join(PATIENCE)
    assert set(found) == {1, 2, 3, 4}


# --- who may ask ------------------------------------------------------------------------------------


def test_a_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("open-sesame\n", encoding="utf-8")
    with serving(LENET, token_file=str(token)) as service:
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer open-sesam"}, 401),
            ({"Authorization": "Basic open-sesame"}, 401),
            ({"Authorization": "open-sesame"}, 401),
            ({"Authorization": "Bearer open-sesame"}, 200),
            ({"Authorization": "bearer  open-sesame"}, 200),
        ):
            for path in ("/v2", "/metrics"):
                answer = service.ask("GET", path, headers=headers)
                assert answer.status == status, headers
        refused = service.ask("POST", "/v2/models/lenet5/infer", b"{}")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert service.get("/nothing").status == 401  # what there is, is not told
        assert service.get("/v2/health/live").status == 200
        assert service.get("/v2/health/ready").status == 200


def test_a_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSPEC_TOKEN", "abc")
    with serving(LENET) as service:
        assert service.get("/v2").status == 401
        assert service.ask("GET", "/v2", headers={"Authorization": "Bearer abc"}).status == 200


@pytest.mark.parametrize("text", [None, "", "two words", "ünicode"])
def test_an_unusable_token_file(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with (
        pytest.raises(netspec.NetspecError, match=r"service\.token_file"),
        serving(LENET, token_file=str(path)),
    ):
        pass


# --- figures ----------------------------------------------------------------------------------------


def test_metrics(tmp_path: Path) -> None:
    with serving(scaled(tmp_path / "net.yaml", 3)) as service:
        for _ in range(3):
            infer(service, "net", {"x": np.ones((2, 2), "f4")})
        infer(service, "net", {"x": np.ones((2, 3), "f4")})
        infer(service, "nothing", {"x": ONE})
        answer = service.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = dict(
        line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#")
    )
    labels = 'model="net",version="1"'
    assert lines['netspec_requests_total{model="net",status="200",version="1"}'] == "3.0"
    assert lines['netspec_requests_total{model="net",status="400",version="1"}'] == "1.0"
    for name, count in (
        ("request_seconds", 4),
        ("queue_seconds", 3),
        ("compute_seconds", 3),
        ("batch_rows", 3),
    ):
        assert lines[f"netspec_{name}_count{{{labels}}}"] == f"{count}.0"
        assert float(lines[f"netspec_{name}_sum{{{labels}}}"]) > 0
    assert lines[f"netspec_batch_rows_sum{{{labels}}}"] == "6.0"
    assert lines[f"netspec_queue_depth{{{labels}}}"] == "0.0"
    assert lines[f"netspec_model_ready{{{labels}}}"] == "1.0"
    assert lines["netspec_request_bytes_held"] == "0.0"
    assert "nothing" not in answer.body.decode()  # clients do not make series


# --- the process ------------------------------------------------------------------------------------


@contextmanager
def process(*args: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`netspec serve` as people start it."""
    command = [sys.executable, "-m", "netspec", "serve", *map(str, args)]
    found = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        yield found
    finally:
        if found.poll() is None:
            found.kill()
        found.communicate(timeout=PATIENCE)


def started(found: subprocess.Popen[str], models: int = 1) -> tuple[str, int]:
    """Host and port, once it has loaded its models."""
    assert found.stderr is not None
    first = found.stderr.readline()
    match = re.fullmatch(r"netspec: serving .+ on http://([\d.]+):(\d+)\n", first)
    assert match, first
    for _ in range(models):
        assert re.match(r"\S+ INFO loaded model=\w+ version=1 seconds=\d+\.\d\d\n", found.stderr.readline())
    return match[1], int(match[2])


SLOW = "sitecustomize.py"
"""Makes computations of the process take their time, so that a signal finds some."""


def slow_python(folder: Path, seconds: float) -> dict[str, str]:
    (folder / SLOW).write_text(
        "import time\nfrom netspec.runtime.network import Network\ncompute = Network.compute\n"
        f"Network.compute = lambda *a, **k: (time.sleep({seconds}), compute(*a, **k))[1]\n",
        encoding="utf-8",
    )
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")))}


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_sigterm_answers_what_was_accepted(tmp_path: Path) -> None:
    """The exit code is 0, new connections are refused, and every request on the open ones is answered."""
    path = scaled(tmp_path / "net.yaml", 3)
    profile = tmp_path / "runner.yaml"
    profile.write_text("runner: 1\nservice: {port: 0, max_batch: 1, drain_seconds: 50}\n", encoding="utf-8")
    with process(path, "--runner", profile, **slow_python(tmp_path, 0.1)) as server:
        host, port = started(server)
        connections = [http.client.HTTPConnection(host, port, timeout=PATIENCE) for _ in range(6)]
        body = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]})
        for connection in connections:
            connection.connect()
        for connection in connections[:5]:
            connection.request("POST", "/v2/models/net/infer", body)
        time.sleep(0.15)
        server.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        connections[5].request("POST", "/v2/models/net/infer", body)  # could not know
        for connection in connections:
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())["outputs"][0]["data"]) == (200, [3.0, 6.0])
            connection.close()
        assert response.headers["connection"] == "close"
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection(host, port, timeout=PATIENCE).connect()
        assert server.wait(PATIENCE) == 0
        assert server.stderr is not None
        assert re.search(r"INFO draining requests=\d\n.*INFO stopped\n", server.stderr.read(), re.DOTALL)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_what_takes_longer_than_draining_may_is_answered_with_an_error(tmp_path: Path) -> None:
    path = scaled(tmp_path / "net.yaml", 3)
    profile = tmp_path / "runner.yaml"
    profile.write_text("runner: 1\nservice: {port: 0, drain_seconds: 0.1}\n", encoding="utf-8")
    with process(path, "--runner", profile, **slow_python(tmp_path, 600)) as server:
        host, port = started(server)
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        body = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]})
        connection.request("POST", "/v2/models/net/infer", body)
        time.sleep(0.2)
        server.send_signal(signal.SIGTERM)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (
            503,
            {"error": "the service is shutting down"},
        )
        connection.close()
        assert server.wait(PATIENCE) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_sighup_looks_at_the_files(tmp_path: Path) -> None:
    path = scaled(tmp_path / "net.yaml", 3)
    profile = tmp_path / "runner.yaml"
    profile.write_text("runner: 1\nservice: {reload_seconds: 0}\n", encoding="utf-8")
    with process(path, "--runner", profile, "--port", "0") as server:
        started(server)
        assert server.stderr is not None
        scaled(path, 4)
        server.send_signal(signal.SIGHUP)
        assert "INFO reloaded model=net version=1" in server.stderr.readline()


def test_wrong_starts(tmp_path: Path) -> None:
    """Exit codes, and one line that says why; never a traceback."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("netspec: 1\ninputs: {x: [N]}\nlayers: [{type: Linaer}]\n", encoding="utf-8")
    ray = tmp_path / "ray.yaml"
    ray.write_text("runner: 1\nengine: {kind: ray}\n", encoding="utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("runner: 1\nservice: {prot: 1}\n", encoding="utf-8")
    with serving(SIAMESE) as other:
        cases: list[tuple[list[str | Path], int, str]] = [
            ([bad, "--port", "0"], 1, f"{bad}:3:17"),
            ([bad, "--port", "0"], 1, "no model could be loaded"),
            ([LENET, "--runner", wrong], 1, "did you mean `port`?"),
            ([LENET, "--runner", ray], 1, "engine: expected local, got ray"),
            ([LENET, "--port", str(other.port)], 3, "--port 0 takes a free one"),
            ([LENET, "--host", "no.such.host.invalid"], 3, "cannot listen on no.such.host.invalid"),
            ([LENET, "--port", "70000"], 2, "65535"),
            ([LENET, "--host", ""], 2, "--host"),
        ]
        runs = []
        for args, _, _ in cases:
            command = [sys.executable, "-m", "netspec", "serve", *map(str, args)]
            runs.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
        for run, (args, code, text) in zip(runs, cases, strict=True):
            _, stderr = run.communicate(timeout=PATIENCE)
            assert (run.returncode, text in stderr) == (code, True), (args, stderr)
            assert "Traceback" not in stderr


@pytest.mark.parametrize("module", ["starlette", "uvicorn", "prometheus_client"])
def test_a_missing_extra_is_named(module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from netspec.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", str(LENET)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    expected = (
        f'error: netspec serve needs {module}, which is not installed: pip install "netspec-runner[serve]"\n'
    )
    assert (result.returncode, result.stderr) == (3, expected)


def test_without_httptools(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """h11 does as well, slower."""
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.httptools_impl", None)
    gate.open.set()
    with serving(LENET) as service:
        assert infer(service, "lenet5", {"image": np.zeros((1, 1, 28, 28), "f4")}).status == 200
        assert service.server.config.http == "h11"
