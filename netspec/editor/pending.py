"""One analysis at a time for a text, and always of its newest state.

Edits that come while one is under way replace each other; the one under way is given up at its next stage.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from netspec.editor.buffers import Buffer
from netspec.editor.view import View, look
from netspec.graph import Memory

log = logging.getLogger(__name__)


class Outdated(Exception):
    """The text has changed since the analysis began."""


class Pending:
    """Analyses of the open texts, made on a thread of their own so that the server keeps answering.

    finished: called on the event loop with each view that is still the newest of its text.
    """

    def __init__(
        self, texts: Callable[[], Mapping[Path, str]], finished: Callable[[View], Awaitable[None] | None]
    ) -> None:
        self.texts = texts
        self.finished = finished
        self.views: dict[str, View] = {}
        self._newest: dict[str, Buffer] = {}
        self._memories: dict[str, Memory] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analysis")

    def want(self, buffer: Buffer) -> None:
        """A text has this state now."""
        self._newest[buffer.uri] = buffer
        if buffer.uri not in self._tasks:
            self._tasks[buffer.uri] = asyncio.ensure_future(self._work(buffer.uri))

    def forget(self, uri: str) -> None:
        """A text was closed."""
        self._newest.pop(uri, None)
        self.views.pop(uri, None)
        self._memories.pop(uri, None)

    async def view(self, uri: str) -> View | None:
        """The view of a text's newest state, once there is one; None for YAML that is none of ours."""
        while (task := self._tasks.get(uri)) is not None:
            # a request that is cancelled must not take the analysis with it
            await asyncio.shield(task)
        return self.views.get(uri)

    async def _work(self, uri: str) -> None:
        try:
            while (buffer := self._newest.get(uri)) is not None:
                view = await self._look(uri, buffer)
                if self._newest.get(uri) is not buffer:
                    continue
                if view is not None:
                    self.views[uri] = view
                    self.finished(view)
                return
        finally:
            del self._tasks[uri]

    async def _look(self, uri: str, buffer: Buffer) -> View | None:
        def between() -> None:
            if self._newest.get(uri) is not buffer:
                raise Outdated

        loop = asyncio.get_running_loop()
        try:
            memory = self._memories.setdefault(uri, Memory())
            return await loop.run_in_executor(self._thread, look, buffer, self.texts(), between, memory)
        except Outdated:
            return None
        except Exception:  # a mistake of ours: the editor keeps what it has, and the log says why
            log.exception("analysis of %s failed", buffer.name)
            return None

    def close(self) -> None:
        """Wait for nothing more."""
        self._newest.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)
