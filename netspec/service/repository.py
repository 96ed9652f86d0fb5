"""The models that are served: by name and version, each loaded, refused or unloaded on its own."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import netspec
from netspec.diagnostics import NetspecError
from netspec.document import Mapping, Scalar, read_file
from netspec.document import Sequence as SequenceNode
from netspec.runtime.network import Network
from netspec.runtime.profile import Profile
from netspec.service.body import Limits
from netspec.service.errors import Refused
from netspec.service.figures import Figures, Metrics
from netspec.service.model import Model
from netspec.service.request import Parser
from netspec.service.signature import Signature, advice

log = logging.getLogger("netspec.service")

Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, size, time and number of each file of a model: another stamp, another model."""


@dataclass(eq=False)
class Entry:
    """One version of a model: where it is read from, and the network that answers, if there is one."""

    name: str
    version: str
    path: Path
    figures: Figures = field(init=False)
    model: Model | None = None
    files: tuple[Path, ...] = ()
    reason: str = "not loaded yet"
    stamp: Stamp = ()
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    unloaded: bool = False

    @property
    def label(self) -> str:
        """For the log."""
        return f"model={self.name} version={self.version}"


class Repository:
    """All models. A change of one is one assignment, so that a request sees the old one or the new."""

    def __init__(self, paths: Sequence[Path], profile: Profile, limits: Limits, metrics: Metrics) -> None:
        """Names and versions are settled here; nothing is loaded. Raises `NetspecError` where they collide."""
        self._profile, self._limits, self._metrics = profile, limits, metrics
        self._entries: dict[str, dict[str, Entry]] = {}
        self._pool = ThreadPoolExecutor(1, "netspec-load")
        for path in paths:
            self._add(path)

    def _add(self, path: Path) -> None:
        name = name_of(path)
        if "/" in name:
            raise NetspecError(f"{path}: the name {name!r} has a slash, which an address cannot hold")
        versions = self._entries.setdefault(name, {})
        version = version_of(path, versions)
        if version in versions:
            other = versions[version].path
            raise NetspecError(f"{path} and {other} are both version {version} of the model {name}")
        entry = versions[version] = Entry(name, version, path)
        entry.figures = Figures(
            self._metrics, name, version, lambda: entry.model.batcher.waiting if entry.model else 0
        )
        self._metrics.ready.labels(name, version).set_function(lambda: entry.model is not None)

    def __iter__(self) -> Iterator[Entry]:
        return (entry for versions in self._entries.values() for entry in versions.values())

    # --- looking up ---------------------------------------------------------------------------------

    def versions(self, name: str) -> dict[str, Entry]:
        """All versions of a model. Raises `Refused` (404)."""
        if name not in self._entries:
            raise Refused(404, f"there is no model {name[:60]!r}; {advice(name, self._entries)}")
        return self._entries[name]

    def entry(self, name: str, version: str | None) -> Entry:
        """A version, or without one the newest that answers. Raises `Refused` (404)."""
        versions = self.versions(name)
        if version is None:
            newest = sorted(versions.values(), key=lambda e: int(e.version), reverse=True)
            return next((entry for entry in newest if entry.model is not None), newest[0])
        if version not in versions:
            raise Refused(404, f"model {name} has no version {version[:20]!r}; it has {', '.join(versions)}")
        return versions[version]

    @staticmethod
    def loaded(entry: Entry) -> Model:
        """The network that answers. Raises `Refused` (503)."""
        if entry.model is None:
            raise Refused(503, f"model {entry.name} version {entry.version} is not ready: {entry.reason}", 5)
        return entry.model

    # --- changing -----------------------------------------------------------------------------------

    async def load(self, entry: Entry) -> bool:
        """Read a model's files; the network takes the old one's place, or the old one stays.

        Whether it could be read.
        """
        async with entry.changing:
            started = time.perf_counter()
            loop = asyncio.get_running_loop()
            try:
                net, parser = await loop.run_in_executor(self._pool, self._read, entry)
            except Exception as error:
                self._failed(entry, error)
                return False
            old = entry.model
            entry.model = Model(entry.name, entry.version, net, parser, self._profile.service, entry.figures)
            entry.reason, entry.unloaded = "", False
            log.info(
                "%s %s seconds=%.2f",
                "reloaded" if old else "loaded",
                entry.label,
                time.perf_counter() - started,
            )
            if old is not None:
                self._metrics.reloads.labels(entry.name, entry.version, "success").inc()
                await old.batcher.close()
            return True

    def _read(self, entry: Entry) -> tuple[Network, Parser]:
        profile = self._profile
        entry.files = files_of(entry.path)
        entry.stamp = stamp_of(entry.files)  # before the files are read: a later change is another stamp
        net = netspec.load(entry.path, runner=profile)
        if net.spec.name != entry.name:
            raise NetspecError(f"its name is now {net.spec.name}: restart the service for that")
        return net, Parser(Signature(net), self._limits.json, self._limits.request)

    def _failed(self, entry: Entry, error: Exception) -> None:
        kept = "; the old one is kept" if entry.model is not None else ""
        if isinstance(error, NetspecError | MemoryError | OSError):
            log.error("not loaded %s path=%s%s\n%s", entry.label, entry.path, kept, error)
        else:
            log.error("not loaded %s path=%s%s", entry.label, entry.path, kept, exc_info=error)
        if entry.model is not None:
            self._metrics.reloads.labels(entry.name, entry.version, "failure").inc()
        else:
            entry.reason = "its files are wrong; the server's log says where"

    async def unload(self, entry: Entry) -> None:
        """Take a model out of service, once it has answered what it accepted."""
        async with entry.changing:
            model, entry.model = entry.model, None
            entry.reason, entry.unloaded = "it was unloaded", True
            if model is not None:
                log.info("unloaded %s", entry.label)
                await model.batcher.close()

    async def load_all(self) -> None:
        """Load every model, one after the other."""
        for entry in self:
            await self.load(entry)

    async def reload_changed(self) -> None:
        """Load those again whose files are other ones than at the last try."""
        loop = asyncio.get_running_loop()
        for entry in self:
            stamp = await loop.run_in_executor(self._pool, stamp_of, entry.files)
            if not entry.unloaded and stamp != entry.stamp:
                await self.load(entry)

    def close(self) -> None:
        """End the thread that loads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


# --- files ------------------------------------------------------------------------------------------


def name_of(path: Path) -> str:
    """The model's name: the network's, or where that cannot be read the file's without its ending."""
    node = _child(path, "name")
    return node.text if isinstance(node, Scalar) and node.text else path.stem


def version_of(path: Path, taken: dict[str, Any]) -> str:
    """The folder's name where it is a number (`digits/3/net.yaml`), else the next: 1, 2, ..."""
    folder = path.resolve().parent.name
    if folder.isascii() and folder.isdigit() and int(folder) > 0:
        return str(int(folder))
    return str(max((int(version) for version in taken), default=0) + 1)


def files_of(path: Path) -> tuple[Path, ...]:
    """The network's file, those it includes (and they), and its weights."""
    found: dict[Path, None] = {}
    todo = [path]
    while todo and len(found) < 1000:
        file = todo.pop()
        if file in found:
            continue
        found[file] = None
        include = _child(file, "include")
        items = include.items if isinstance(include, SequenceNode) else [include]
        todo += [file.parent / item.text for item in items if isinstance(item, Scalar)]
    weights = _child(path, "weights")
    return (*found, *([path.parent / weights.text] if isinstance(weights, Scalar) else []))


def _child(path: Path, key: str) -> Any:
    root = read_file(path).root
    return root.get(key) if isinstance(root, Mapping) else None


def stamp_of(files: Sequence[Path]) -> Stamp:
    """What the files look like from outside."""
    return tuple(map(_stamp, files))


def _stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (str(path), -1, 0, 0)
    return (str(path), found.st_size, found.st_mtime_ns, found.st_ino)
