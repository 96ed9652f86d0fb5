"""The table of routes, and who may ask."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from starlette.routing import Route, Router

from netspec.service import handlers
from netspec.service.http import Endpoint, Handler, Receive, Reply, Scope, Send, error_reply
from netspec.service.inference import infer
from netspec.service.openapi import openapi
from netspec.service.state import State
from netspec.service.static import page_routes

_PAGE = page_routes()
_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")

ROUTES: Mapping[str, Mapping[str, Handler]] = {
    **{f"{model}/infer": {"POST": infer} for model in _MODEL},
    "/v2": {"GET": handlers.server},
    "/v2/health/live": {"GET": handlers.live},
    "/v2/health/ready": {"GET": handlers.ready},
    "/v2/models/stats": {"GET": handlers.stats},
    **{f"{model}/ready": {"GET": handlers.model_ready} for model in _MODEL},
    **{f"{model}/config": {"GET": handlers.config} for model in _MODEL},
    **{f"{model}/stats": {"GET": handlers.stats} for model in _MODEL},
    **{f"{model}/shapes": {"GET": handlers.shapes} for model in _MODEL},
    **{model: {"GET": handlers.model} for model in _MODEL},
    "/v2/repository/index": {"POST": handlers.index},
    "/v2/repository/models/{model}/load": {"POST": handlers.load},
    "/v2/repository/models/{model}/unload": {"POST": handlers.unload},
    "/metrics": {"GET": handlers.metrics},
    "/openapi.json": {"GET": openapi},
    **_PAGE,
}
"""Path, method, handler; the first path that fits is taken."""

WITHOUT_TOKEN = frozenset(("/v2/health/live", "/v2/health/ready", *_PAGE))
"""What orchestrators probe, which have no token; and the page, which asks for one."""


class App:
    """The service as an ASGI application."""

    def __init__(self, state: State, routes: Mapping[str, Mapping[str, Handler]] = ROUTES) -> None:
        self._state = state
        self._router = Router(
            [Route(path, Endpoint(state, dict(methods))) for path, methods in routes.items()],
            redirect_slashes=False,
            default=self._nothing_there,
        )
        self._token = b"bearer " + state.token if state.token is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        if self._token is not None and not self._may_ask(scope):
            reply = error_reply(401, "the request needs `Authorization: Bearer TOKEN`",
                                (b"www-authenticate", b"Bearer"))  # fmt: skip
            await reply.send(send, self._state)
            return
        self._state.active += 1
        try:
            await self._router(scope, receive, send)
        finally:
            self._state.active -= 1

    def _may_ask(self, scope: Scope) -> bool:
        assert self._token is not None
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        # Compared in constant time, so that answers do not tell how much of a guess is right.
        allowed = hmac.compare_digest(scheme.lower() + b" " + token.strip(), self._token)
        return allowed or scope["path"] in WITHOUT_TOKEN

    async def _nothing_there(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply: Reply = error_reply(404, f"there is nothing at {scope['path'][:100]}")
        await reply.send(send, self._state)
