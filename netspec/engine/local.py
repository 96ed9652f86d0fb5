"""The shards of a job one after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netspec.engine.job import Job, Shard
from netspec.engine.shards import Done, compute_shard
from netspec.runtime.network import Network


def run_local(net: Network, job: Job, shards: Iterable[Shard]) -> Iterator[Done]:
    """Each shard as it is done."""
    for shard in shards:
        yield compute_shard(net, job, shard)
