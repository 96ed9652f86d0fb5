"""What each route answers."""

from __future__ import annotations

import asyncio
import json

from netspec import __version__
from netspec.service import describe
from netspec.service.body import read_body
from netspec.service.errors import Refused
from netspec.service.figures import CONTENT_TYPE
from netspec.service.http import Call, Reply, json_reply
from netspec.service.repository import Entry
from netspec.service.request import Json, load_object

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]
_SMALL_BODY = 64 * 1024


def entry_of(call: Call) -> Entry:
    """The version of a model that the path names. Raises `Refused` (404)."""
    found = call.parameters
    return call.state.repository.entry(found["model"], found.get("version"))


async def server(call: Call) -> Reply:
    """`GET /v2`: the server's metadata."""
    return json_reply({"name": "netspec", "version": __version__, "extensions": EXTENSIONS})


async def live(call: Call) -> Reply:
    """`GET /v2/health/live`: the process answers."""
    return json_reply({"live": True})


async def ready(call: Call) -> Reply:
    """`GET /v2/health/ready`: a model answers, and no end is near."""
    return json_reply({"ready": call.state.ready}, 200 if call.state.ready else 503)


async def model(call: Call) -> Reply:
    """`GET /v2/models/{model}`: its metadata."""
    entry = entry_of(call)
    versions = call.state.repository.versions(entry.name)
    return json_reply(describe.metadata(call.state.repository.loaded(entry), list(versions)))


async def model_ready(call: Call) -> Reply:
    """`GET /v2/models/{model}/ready`."""
    entry = entry_of(call)
    is_ready = entry.model is not None and not call.state.draining
    return json_reply({"name": entry.name, "ready": is_ready}, 200 if is_ready else 503)


async def config(call: Call) -> Reply:
    """`GET /v2/models/{model}/config`: Triton's model configuration."""
    return json_reply(describe.config(call.state.repository.loaded(entry_of(call)), call.state.service))


async def shapes(call: Call) -> Reply:
    """`GET /v2/models/{model}/shapes`: what `netspec shapes` says of it, and what the page needs besides."""
    loaded = call.state.repository.loaded(entry_of(call))
    if loaded.report is None:
        loaded.report = await asyncio.to_thread(lambda: json.dumps(describe.shapes(loaded)).encode())
    return Reply(loaded.report)


async def stats(call: Call) -> Reply:
    """`GET /v2/models/stats` and `GET /v2/models/{model}/stats`: Triton's statistics."""
    repository = call.state.repository
    name, version = call.parameters.get("model"), call.parameters.get("version")
    if name is None:
        entries = list(repository)
    else:
        entries = [repository.entry(name, version)] if version else list(repository.versions(name).values())
    return json_reply({"model_stats": [describe.statistics(entry) for entry in entries]})


async def metrics(call: Call) -> Reply:
    """`GET /metrics`: for Prometheus."""
    return Reply(call.state.metrics.text(), 200, [(b"content-type", CONTENT_TYPE.encode())])


# --- the model repository ---------------------------------------------------------------------------


async def index(call: Call) -> Reply:
    """`POST /v2/repository/index`: every model and its state; only the ready ones for `{"ready": true}`."""
    only_ready = (await _object(call)).get("ready", False)
    if not isinstance(only_ready, bool):
        raise Refused(400, "ready: expected true or false")
    entries = [entry for entry in call.state.repository if entry.model is not None or not only_ready]
    return json_reply([describe.state(entry) for entry in entries])


async def load(call: Call) -> Reply:
    """`POST /v2/repository/models/{model}/load`: read the model's files again."""
    entries = await _controlled(call)
    outcomes = [await call.state.repository.load(entry) for entry in entries]
    if not all(outcomes):
        raise Refused(400, "the model could not be loaded; the server's log says why")
    return json_reply({})


async def unload(call: Call) -> Reply:
    """`POST /v2/repository/models/{model}/unload`: take it out of service."""
    for entry in await _controlled(call):
        await call.state.repository.unload(entry)
    return json_reply({})


async def _controlled(call: Call) -> list[Entry]:
    """The versions of the model that a client wants to load or unload. Raises `Refused` (400, 403, 404)."""
    if not call.state.service.model_control:
        raise Refused(403, "models are not loaded and unloaded by clients here (service.model_control)")
    origin = call.headers.get(b"origin")
    if origin is not None and origin.partition(b"://")[2] != call.headers.get(b"host"):
        # A browser asks this for any page that somebody has open; only its answer would be kept from it.
        raise Refused(403, "pages of other sites may not load and unload models")
    entries = list(call.state.repository.versions(call.parameters["model"]).values())
    parameters = (await _object(call)).get("parameters")
    if not isinstance(parameters, dict | None):
        raise Refused(400, "parameters: expected an object")
    for key, value in (parameters or {}).items():
        if key != "unload_dependents":
            raise Refused(400, f"parameter {key[:40]}: a model is loaded from its own files only")
        if not isinstance(value, bool):
            raise Refused(400, "parameter unload_dependents: expected true or false")
    return entries


async def _object(call: Call) -> Json:
    """The JSON object of a small body; {} where there is none."""
    with call.state.budget.lease() as lease:
        reading = read_body(call.receive, call.headers, _SMALL_BODY, lease)
        body = await call.state.patience.body(reading, call.state.deadline())
        return load_object(body, _SMALL_BODY) if body.strip() else {}
