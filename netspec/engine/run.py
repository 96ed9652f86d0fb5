"""A job from start to end: what is finished is left, what is missing is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from netspec.diagnostics import InputError
from netspec.engine.job import Job, Shard
from netspec.engine.local import run_local
from netspec.engine.manifest import describe_job, finished_shards, near, write_manifest
from netspec.engine.shards import Done, look_at_shard, remove, unfinished
from netspec.report.ranges import Range
from netspec.runtime.network import Network
from netspec.runtime.profile import Engine

LOCK = ".lock"
FAILURES_SHOWN = 5
Progress = Callable[[int, int], AbstractContextManager[Callable[[], None]]]
"""A progress bar from the number of shards and of those that are done: entered, it is called for each more."""


@dataclass(frozen=True, slots=True)
class Result:
    """The range of every output, and how many shards an earlier run had finished."""

    ranges: dict[str, Range]
    before: int


def run_job(net: Network, job: Job, engine: Engine, device: str, progress: Progress) -> Result:
    """Compute the shards that are missing.

    A shard whose input is wrong does not stop the others; once they are finished, `InputError` tells of all
    that failed. Raises `InputError` at once if the folder holds the shards of another job.
    """
    manifest = describe_job(net, job)
    ranges = {name: Range() for name in job.outputs}
    with _alone(job.folder):
        finished = finished_shards(job, manifest)
        write_manifest(job.folder, {**manifest, "complete": False})
        remove(unfinished(job.folder))
        looked = [look_at_shard(job, shard) for shard in job.shards if shard.index in finished]
        there = {done.index: done for done in looked if done.error is None}
        todo = [shard for shard in job.shards if shard.index not in there]
        for done in there.values():
            _merge(ranges, done)
        failed = []
        with progress(len(job.shards), len(there)) as advance:
            for done in _computed(net, job, todo, engine, device):
                if done.error is not None:
                    failed.append(done)
                _merge(ranges, done)
                advance()
        if failed:
            raise InputError(_failures(job, failed))
        for name, found in manifest["outputs"].items():
            found |= ranges[name].to_json()
        write_manifest(job.folder, {**manifest, "complete": True})
    return Result(ranges, len(there))


def _computed(net: Network, job: Job, todo: Sequence[Shard], engine: Engine, device: str) -> Iterator[Done]:
    if engine.kind == "local" or not todo:
        return run_local(net, job, todo)
    from netspec.engine.ray_data import run_ray

    return run_ray(net, job, todo, engine, device)


def _merge(ranges: dict[str, Range], done: Done) -> None:
    for name, found in done.ranges.items():
        ranges[name].merge(found)


def _failures(job: Job, failed: Sequence[Done]) -> str:
    lines = [
        f"{len(failed)} of {len(job.shards)} shards could not be computed, the others are finished; "
        "put right what is wrong and run the same command again:"
    ]
    for done in sorted(failed, key=lambda done: done.index)[:FAILURES_SHOWN]:
        shard = job.shards[done.index]
        files = [file.path for file, _, _ in job.id_source.pieces(shard.start, shard.stop)]
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        error = str(done.error)
        origin = "" if any(path in error for path in files) else f", from {near(files[0])}{more}"
        last = shard.stop - 1
        rows = f"row {last}" if shard.start == last else f"rows {shard.start} to {last}"
        lines.append(f"  {shard.file} ({rows}{origin}): {error}")
    if len(failed) > FAILURES_SHOWN:
        lines.append(f"  and {len(failed) - FAILURES_SHOWN} more")
    return "\n".join(lines)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder for one run at a time; the system lets go of it also when the process is killed."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{near(folder)}: another run is writing into this folder") from None
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()
