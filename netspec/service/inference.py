"""`POST /v2/models/{model}/infer`: the path of one request through the service."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from netspec.service.body import OFF_THE_LOOP, read_body
from netspec.service.codings import choose, compress
from netspec.service.errors import Disconnected, Refused
from netspec.service.http import JSON, OCTETS, Call, Reply
from netspec.service.model import Model
from netspec.service.repository import Entry
from netspec.service.request import Head, header_length
from netspec.service.response import encode

_WORTH_COMPRESSING = 1024
"""Bytes of an answer from which it is compressed, where the client takes that."""
_MUCH_TEXT = 10_000
"""Numbers in an answer's JSON from which it is written in a thread."""


async def infer(call: Call) -> Reply:
    """The outputs of a network for the inputs of a request."""
    found = call.parameters
    entry = call.state.repository.entry(found["model"], found.get("version"))
    started = time.perf_counter()
    status = 500
    try:
        reply = await _infer(call, entry)
        status = reply.status
        return reply
    except Refused as error:
        status = error.status
        raise
    except (Disconnected, asyncio.CancelledError):
        status = 499
        raise
    finally:
        entry.figures.request(status, time.perf_counter() - started)


async def _infer(call: Call, entry: Entry) -> Reply:
    state, headers = call.state, call.headers
    model = state.repository.loaded(entry)
    started = state.patience.now()
    deadline = started + state.service.timeout_seconds
    ticket = model.batcher.admit()
    try:
        with state.budget.lease() as lease:
            reading = read_body(call.receive, headers, state.limits.request, lease)
            body = await state.patience.body(reading, deadline)
            head, inputs = model.parser.parse(body, header_length(headers))
            if head.timeout is not None:
                deadline = min(deadline, started + head.timeout)
            future = model.start(head, inputs, ticket)
            del body, inputs  # held by the queue, which lets go of them as soon as they are computed
            results = await state.patience.result(future, call.receive, deadline)
    finally:
        ticket.release()
    return await _answer(call, entry, model, head, results)


async def _answer(call: Call, entry: Entry, model: Model, head: Head, results: dict[str, Any]) -> Reply:
    started = time.perf_counter()
    arguments = (model.name, model.version, head, results, model.signature)
    if any(not o.binary or o.classes for o in head.outputs) and _numbers_in_text(head, results) > _MUCH_TEXT:
        content, json_size = await asyncio.to_thread(encode, *arguments)
    else:
        content, json_size = encode(*arguments)
    reply = await _reply(content, json_size, call.headers.get(b"accept-encoding", b"").decode("latin-1"))
    entry.figures.statistics.output(time.perf_counter() - started)
    return reply


def _numbers_in_text(head: Head, results: dict[str, Any]) -> int:
    return sum(results[output.name].size for output in head.outputs if not output.binary or output.classes)


async def _reply(content: bytes, json_size: int | None, accepted: str) -> Reply:
    headers = (
        [JSON] if json_size is None else [OCTETS, (b"inference-header-content-length", b"%d" % json_size)]
    )
    coding = choose(accepted) if accepted and len(content) >= _WORTH_COMPRESSING else None
    if coding is not None:
        headers.append((b"content-encoding", coding.encode()))
        if len(content) < OFF_THE_LOOP:
            content = compress(content, coding)
        else:
            content = await asyncio.to_thread(compress, content, coding)
    return Reply(content, 200, headers)
