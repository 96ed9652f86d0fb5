"""What the parts of a running service share."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from netspec.diagnostics import NetspecError
from netspec.runtime.profile import Profile, Service
from netspec.service.body import Budget, Limits
from netspec.service.errors import Refused
from netspec.service.figures import Metrics
from netspec.service.patience import Patience
from netspec.service.repository import Repository

log = logging.getLogger("netspec.service")

TOKEN_VARIABLE = "NETSPEC_TOKEN"
_MIB = 1024 * 1024


class State:
    """The models, the limits and the stage of life: starting, serving, draining."""

    def __init__(self, paths: Sequence[Path], profile: Profile) -> None:
        """Raises `NetspecError` for an unreadable token and for models of one name and version."""
        self.service: Service = profile.service
        self.metrics = Metrics()
        largest = int(profile.service.max_request_mb * _MIB)
        self.limits = Limits(largest, min(largest, int(profile.service.max_json_mb * _MIB)))
        self.repository = Repository(paths, profile, self.limits, self.metrics)
        self.token = read_token(profile.service)
        self.budget = Budget(int(profile.service.max_memory_mb * _MIB))
        self.metrics.held.set_function(lambda: self.budget.held)
        self.started = self.draining = False
        self.active = 0
        self._patience: Patience | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Every model was tried, one at least answers, and no end is near."""
        return self.started and not self.draining and any(entry.model for entry in self.repository)

    @property
    def patience(self) -> Patience:
        """Deadlines of the requests on the running event loop."""
        if self._patience is None:
            self._patience = Patience()
        return self._patience

    def deadline(self) -> float:
        """When a request that comes now must be answered."""
        return self.patience.now() + float(self.service.timeout_seconds)

    async def start(self) -> bool:
        """Load the models; whether any of them answers."""
        await self.repository.load_all()
        self.started = True
        if self.service.reload_seconds:
            self._watching = asyncio.create_task(self._watch(self.service.reload_seconds))
        return any(entry.model for entry in self.repository)

    async def _watch(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self.reload()

    async def reload(self) -> None:
        """Look at the models' files now."""
        try:
            await self.repository.reload_changed()
        except Exception:
            log.exception("the models' files could not be looked at")

    def abort(self) -> None:
        """The time for draining is over: answer what is left with an error."""
        for entry in self.repository:
            if entry.model is not None:
                entry.model.batcher.abort(Refused(503, "the service is shutting down", retry_after=1))

    async def close(self) -> None:
        """End what runs in the background."""
        if self._watching is not None:
            self._watching.cancel()
        self.abort()
        self.repository.close()


def read_token(service: Service) -> bytes | None:
    """The token that requests must bring, from the profile's file, else the environment; None: no token.

    Raises `NetspecError` where the file cannot be read or holds none.
    """
    if service.token_file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip().encode() or None
    try:
        token = Path(service.token_file).read_bytes().strip()
    except OSError as error:
        raise NetspecError(f"service.token_file: {service.token_file}: {error.strerror or error}") from None
    if not token or any(byte <= 32 or byte > 126 for byte in token):
        raise NetspecError(f"service.token_file: {service.token_file}: expected one word in ASCII")
    return token
