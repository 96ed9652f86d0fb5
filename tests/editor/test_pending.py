"""Of many edits only the newest is analysed to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from netspec.editor import pending as module
from netspec.editor.buffers import Buffer
from netspec.editor.pending import Outdated, Pending
from netspec.editor.view import View, look

pytestmark = pytest.mark.asyncio

URI = "file:///nowhere/net.yaml"
WAIT = 60.0


def buffer(version: int) -> Buffer:
    return Buffer(
        URI, f"netspec: 1\ninputs: {{x: [N]}}\nlayers: [{{name: l{version}, type: ReLU}}]\n", version
    )


async def test_edits_that_come_together_are_one() -> None:
    finished: list[View] = []
    pending = Pending(dict, finished.append)
    for version in range(50):
        pending.want(buffer(version))
    view = await asyncio.wait_for(pending.view(URI), WAIT)
    assert view is not None
    assert [found.buffer.version for found in finished] == [view.buffer.version] == [49]
    pending.close()


async def test_an_analysis_that_is_outdated_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    began, edited = threading.Event(), threading.Event()
    given_up: list[int | None] = []

    def slow(wanted: Buffer, texts: object, between: Callable[[], None], memory: object) -> View:
        began.set()
        assert edited.wait(WAIT)
        try:
            between()
        except Outdated:
            given_up.append(wanted.version)
            raise
        return look(wanted, {}, between)

    monkeypatch.setattr(module, "look", slow)
    finished: list[View] = []
    pending = Pending(dict, finished.append)
    pending.want(buffer(1))
    await asyncio.to_thread(began.wait, WAIT)
    pending.want(buffer(2))
    edited.set()
    view = await asyncio.wait_for(pending.view(URI), WAIT)
    assert view is not None
    assert (view.buffer.version, given_up) == (2, [1])
    assert [found.buffer.version for found in finished] == [2]
    pending.close()


async def test_a_request_that_is_cancelled_leaves_the_analysis() -> None:
    pending = Pending(dict, lambda view: None)
    pending.want(buffer(1))
    asked = asyncio.ensure_future(pending.view(URI))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    view = await asyncio.wait_for(pending.view(URI), WAIT)
    assert view is not None
    assert view.buffer.version == 1
    pending.close()


async def test_a_closed_text_is_forgotten() -> None:
    finished: list[View] = []
    pending = Pending(dict, finished.append)
    pending.want(buffer(1))
    pending.forget(URI)
    assert await asyncio.wait_for(pending.view(URI), WAIT) is None
    assert finished == []
    pending.close()


async def test_a_mistake_of_ours_is_logged_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> View:
        raise RuntimeError("oh")

    monkeypatch.setattr(module, "look", broken)
    pending = Pending(dict, lambda view: None)
    pending.want(buffer(1))
    assert await asyncio.wait_for(pending.view(URI), WAIT) is None
    assert "analysis of /nowhere/net.yaml failed" in caplog.text
    monkeypatch.undo()
    pending.want(buffer(2))
    assert await asyncio.wait_for(pending.view(URI), WAIT) is not None
    pending.close()
