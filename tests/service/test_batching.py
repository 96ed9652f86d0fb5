"""Requests computed together: which, how many, and that nobody notices."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.network import _PROGRAMS_KEPT
from netspec.service.model import batch_sizes
from tests.service.conftest import Gate
from tests.service.running import (
    LENET,
    SIAMESE,
    Answer,
    Running,
    arrays_of,
    eventually,
    infer,
    request_of,
    serving,
)

IMAGES = np.random.RandomState(0).random_sample((40, 1, 28, 28)).astype("f4")
NUMBER = {"outputs": [{"name": "twice", "parameters": {"binary_data": True}}]}


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """The answers to requests that are sent at the same time."""
    barrier = threading.Barrier(len(calls))

    def wait_and(call: Callable[[], Answer]) -> Answer:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(wait_and, calls))


def waiting(service: Running, count: int, name: str = "lenet5") -> None:
    """Until so many requests wait."""
    entry = service.state.repository.entry(name, None)
    eventually(
        lambda: entry.model is not None and entry.model.batcher.waiting == count, f"{count} do not wait"
    )


def behind(
    service: Running, gate: Gate, pool: ThreadPoolExecutor, images: Sequence[Any]
) -> list[Future[Answer]]:
    """One request that is being computed, and the others behind it."""
    found = [pool.submit(infer, service, "lenet5", {"image": images[0]})]
    gate.wait_for_one()
    for index, image in enumerate(images[1:]):
        found.append(pool.submit(infer, service, "lenet5", {"image": image}))
        waiting(service, index + 1)
    return found


@pytest.mark.parametrize("largest", [1, 2, 7, 15, 16, 32, 33, 64, 100, 1000, 4096])
def test_sizes(largest: int) -> None:
    """Few enough to be kept, each near the one before, every batch fits one."""
    sizes = batch_sizes(largest)
    assert (sizes[0], sizes[-1]) == (1, largest)
    assert len(sizes) < _PROGRAMS_KEPT
    assert all(a < b <= 2 * a for a, b in itertools.pairwise(sizes))


def test_what_waits_is_computed_together_with_the_same_answers(gate: Gate) -> None:
    """Requests of several rows each, filled up to a size that a program is kept for."""
    rows = [IMAGES[:1], IMAGES[1:3], IMAGES[3:4], IMAGES[4:7], IMAGES[7:10]]
    with serving(LENET, max_batch=32) as service, ThreadPoolExecutor(8) as pool:
        answers = behind(service, gate, pool, rows)
        gate.open.set()
        found = [arrays_of(answer.result())["probabilities"] for answer in answers]
    assert gate.sizes == [1, 10]  # 2 + 1 + 3 + 3 rows, and one to fill up
    net = netspec.load(LENET)
    for images, probabilities in zip(rows, found, strict=True):
        np.testing.assert_allclose(probabilities, net(images), rtol=1e-5, atol=1e-7)


def test_a_batch_is_not_larger_than_it_may(gate: Gate) -> None:
    with serving(LENET, max_batch=4) as service, ThreadPoolExecutor(16) as pool:
        answers = behind(service, gate, pool, [IMAGES[i : i + 1] for i in range(11)])
        gate.open.set()
        assert all(answer.result().status == 200 for answer in answers)
    assert gate.sizes == [1, 4, 4, 2]


def test_other_shapes_are_other_batches(gate: Gate, tmp_path: Path) -> None:
    net = netspec.load(
        {"netspec": 1, "name": "any", "inputs": {"x": ["N", "W"]}, "layers": [{"type": "neg"}]}
    )
    net.save(tmp_path / "any.yaml")
    with serving(tmp_path / "any.yaml") as service, ThreadPoolExecutor(8) as pool:
        first = pool.submit(infer, service, "any", {"x": np.zeros((1, 1), "f4")})
        gate.wait_for_one()
        arrays = [np.full((1, width), width, "f4") for width in (2, 3, 2, 3, 3)]
        answers = [pool.submit(infer, service, "any", {"x": array}) for array in arrays]
        waiting(service, 5, "any")
        gate.open.set()
        assert first.result().status == 200
        for array, answer in zip(arrays, answers, strict=True):
            (found,) = arrays_of(answer.result()).values()
            np.testing.assert_array_equal(found, -array)
    assert sorted(gate.sizes) == [1, 2, 3]


def test_rows_that_are_mixed_are_computed_alone(service: Running, gate: Gate) -> None:
    gate.open.set()
    calls = [lambda i=i: infer(service, "mean", {"x": np.full((2, 2), i, "f4")}) for i in range(6)]
    for index, answer in enumerate(at_once(calls)):
        (found,) = arrays_of(answer).values()
        np.testing.assert_array_equal(found, [[index, index]])
    assert gate.sizes == [2] * 6


def test_an_output_that_mixes_does_not_stop_the_others(gate: Gate) -> None:
    """The loss is a mean over the batch, the probability is not."""
    asked = {"outputs": [{"name": "probability"}]}
    with serving(SIAMESE) as service, ThreadPoolExecutor(8) as pool:
        pair = {"left": IMAGES[:1], "right": IMAGES[1:2]}
        answers = [pool.submit(infer, service, "siamese", pair, **asked)]
        gate.wait_for_one()
        for number in range(3):
            answers.append(pool.submit(infer, service, "siamese", pair, **asked))
            waiting(service, number + 1, "siamese")
        gate.open.set()
        assert all(answer.result().status == 200 for answer in answers)
        assert gate.sizes == [1, 3]
        gate.sizes.clear()
        whole = {**pair, "target": np.ones((1, 1), "f4")}
        expected = netspec.load(SIAMESE).run(whole)["loss"]
        gate.sizes.clear()
        for answer in at_once([lambda: infer(service, "siamese", whole)] * 3):
            np.testing.assert_allclose(arrays_of(answer)["loss"], expected, rtol=1e-5)
        assert gate.sizes == [1] * 3


def test_a_request_that_is_larger_than_a_batch_is_computed_alone(gate: Gate) -> None:
    gate.open.set()
    with serving(LENET, max_batch=4) as service:
        found = arrays_of(infer(service, "lenet5", {"image": IMAGES}))["probabilities"]
    assert gate.sizes == [40]
    np.testing.assert_allclose(found, netspec.load(LENET)(IMAGES), rtol=1e-5, atol=1e-7)


def test_one_wrong_value_does_not_spoil_the_batch(service: Running, gate: Gate) -> None:
    """Its request alone is refused."""
    asked = {"outputs": [{"name": "placed", "parameters": {"binary_data": True}}]}
    indices = [[0, 2, 4], [1, 3, 5], [0, 99, 1], [5, 4, 3]]
    with ThreadPoolExecutor(8) as pool:

        def ask(index: Sequence[int]) -> Future[Answer]:
            arrays = {"number": np.array([[[1, 2, 3]]], "f4"), "index": np.array([[index]])}
            return pool.submit(infer, service, "kinds", arrays, **asked)

        first = ask(indices[0])
        gate.wait_for_one()
        answers = [ask(index) for index in indices]
        waiting(service, 4, "kinds")
        gate.open.set()
        assert first.result().status == 200
        statuses = [answer.result().status for answer in answers]
    assert statuses == [200, 200, 400, 200]
    assert "index 99 is outside" in answers[2].result().json["error"]
    np.testing.assert_array_equal(arrays_of(answers[3].result())["placed"], [[[0, 0, 0, 3, 2, 1]]])


def test_a_client_on_its_own_does_not_wait() -> None:
    """For an hour, if it did."""
    with serving(LENET, max_delay_ms=60_000) as service:
        for index in range(3):
            assert infer(service, "lenet5", {"image": IMAGES[index : index + 1]}).status == 200


def test_several_workers(gate: Gate) -> None:
    with serving(LENET, workers=2, max_batch=1) as service, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(infer, service, "lenet5", {"image": IMAGES[:1]}) for _ in range(2)]
        gate.wait_for_one()
        gate.wait_for_one()  # both are computed at once
        gate.open.set()
        assert [answer.result().status for answer in answers] == [200, 200]


# --- limits -----------------------------------------------------------------------------------------


def test_a_full_queue_refuses(gate: Gate) -> None:
    with serving(LENET, max_queue=3, max_batch=1) as service, ThreadPoolExecutor(8) as pool:
        answers = behind(service, gate, pool, [IMAGES[:1]] * 4)
        refused = infer(service, "lenet5", {"image": IMAGES[:1]})
        assert refused.status == 503
        assert refused.json == {"error": "3 requests wait already"}
        assert int(refused.headers["retry-after"]) >= 1
        gate.open.set()
        assert [answer.result().status for answer in answers] == [200] * 4
        assert infer(service, "lenet5", {"image": IMAGES[:1]}).status == 200


def test_a_deadline_frees_its_place(gate: Gate) -> None:
    """That of the request, and that of the service."""
    with serving(LENET, max_queue=2, max_batch=1) as service, ThreadPoolExecutor(8) as pool:
        first = behind(service, gate, pool, [IMAGES[:1]])
        late = infer(service, "lenet5", {"image": IMAGES[:1]}, parameters={"timeout": 30_000})
        assert late.status == 504
        waiting(service, 0)
        gate.open.set()
        assert first[0].result().status == 200
    assert gate.sizes == [1]  # what came too late was not computed
    gate.open.clear()
    with serving(LENET, timeout_seconds=0.05) as service:
        assert infer(service, "lenet5", {"image": IMAGES[:1]}).status == 504
        gate.open.set()


def test_a_client_that_leaves_frees_its_place(gate: Gate) -> None:
    with serving(LENET, max_batch=1) as service, ThreadPoolExecutor(8) as pool:
        first = behind(service, gate, pool, [IMAGES[:1]])
        body, size = request_of({"image": IMAGES[:1]})
        connection = service.connect()
        connection.request(
            "POST", "/v2/models/lenet5/infer", body, {"Inference-Header-Content-Length": str(size)}
        )
        waiting(service, 1)
        connection.close()
        waiting(service, 0)
        assert service.state.budget.held == len(body)  # the first one's
        gate.open.set()
        assert first[0].result().status == 200
        eventually(lambda: 'status="499"' in service.get("/metrics").body.decode(), "it is not counted")
    assert gate.sizes == [1]


def test_a_client_that_leaves_while_it_sends(service: Running) -> None:
    head = b"POST /v2/models/lenet5/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    with socket.create_connection((service.host, service.port)) as connection:
        connection.sendall(head)
        waiting(service, 1)
    waiting(service, 0)
    assert service.state.budget.held == 0


def test_bodies_that_are_too_large() -> None:
    limits = {"max_request_mb": 0.01, "max_json_mb": 0.001}
    with serving(LENET, **limits) as service:
        for images, status in ((IMAGES[:2], 200), (IMAGES[:4], 413)):
            assert infer(service, "lenet5", {"image": images}).status == status
        chunks = service.connect()
        chunks.request("POST", "/v2/models/lenet5/infer", iter([b" " * 4000] * 4), encode_chunked=True)
        response = chunks.getresponse()
        assert (response.status, b"at most 10485" in response.read()) == (413, True)
        chunks.close()
        answer = service.ask("POST", "/v2/models/lenet5/infer", b" " * 2000)
        assert (answer.status, "send tensors in binary" in answer.json["error"]) == (413, True)


def test_all_bodies_together_have_a_limit(gate: Gate) -> None:
    with serving(LENET, max_memory_mb=0.008) as service, ThreadPoolExecutor(8) as pool:
        first = pool.submit(infer, service, "lenet5", {"image": IMAGES[:2]})
        gate.wait_for_one()
        refused = infer(service, "lenet5", {"image": IMAGES[:2]})
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        gate.open.set()
        assert first.result().status == 200
        assert service.state.budget.held == 0
        assert infer(service, "lenet5", {"image": IMAGES[:2]}).status == 200


def test_a_body_that_does_not_come() -> None:
    with serving(LENET, timeout_seconds=0.1) as service:
        with socket.create_connection((service.host, service.port)) as connection:
            connection.sendall(
                b"POST /v2/models/lenet5/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
            )
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer


def test_a_head_without_an_end(service: Running) -> None:
    with socket.create_connection((service.host, service.port)) as connection:
        answer = b""
        try:
            connection.sendall(b"GET /v2 HTTP/1.1\r\n")
            for number in range(100):
                connection.sendall(b"x-%d: " % number + b"a" * 4000 + b"\r\n")
            answer = connection.recv(4096)
        except (BrokenPipeError, ConnectionResetError):  # closed while we were still sending
            answer = answer or b"HTTP/1.1 431"
        assert answer.startswith(b"HTTP/1.1 431")
    assert service.get("/v2").status == 200
