"""A job: a network, the rows of its inputs, and the shards that its outputs are cut into.

The shards follow from the rows and the batch size alone, not from who computes them: every engine, with any
number of workers, computes the same batches and writes the same files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netspec.diagnostics import DeviceError, InputError
from netspec.engine import parquet
from netspec.engine.sources import Source
from netspec.graph import TensorRef
from netspec.runtime.batches import PROBE, batch_ranges
from netspec.runtime.network import Network

FORMATS = ("npy", "npz", "parquet")
BATCH_SIZE = 32
"""Rows of a batch where nobody says how many."""
SHARD_BYTES = 128 << 20
"""Size that a shard is cut to: what is lost when a worker dies, and about what a worker holds."""
LEAST_SHARDS = 64
"""Shards of a small job, so that it, too, can be shared out and resumed; less if there are fewer batches."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows start..stop of every output, in one file of the job's folder."""

    index: int
    start: int
    stop: int
    file: str


@dataclass(frozen=True, slots=True)
class Output:
    """One output: the shape of a row, and the dtype."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Job:
    """What is computed, from what, and into which files."""

    folder: Path
    format: str
    sources: Mapping[str, Source]
    wanted: Mapping[str, TensorRef]
    outputs: Mapping[str, Output]
    rows: int
    batch_size: int
    shards: tuple[Shard, ...]

    def batches(self, shard: Shard) -> list[tuple[int, int]]:
        """(start, stop) of each batch of a shard."""
        starts = range(shard.start, shard.stop, self.batch_size)
        return [(start, min(start + self.batch_size, shard.stop)) for start in starts]

    @property
    def id_source(self) -> Source:
        """The input whose files name the rows in Parquet: the first one that is Parquet, else the first."""
        sources = list(self.sources.values())
        return next((source for source in sources if source.column), sources[0])


def plan_job(
    net: Network,
    wanted: Mapping[str, TensorRef],
    sources: Mapping[str, Source],
    folder: Path,
    format: str | None = None,
    batch_size: int | None = None,
) -> Job:
    """The job that computes the wanted tensors of these rows.

    format: npy, npz or parquet; default: parquet from Parquet, else npy, or npz for several outputs.
    Raises `InputError` where the network does not take the rows, or not in batches.
    """
    batch_size = batch_size or BATCH_SIZE
    batch_ranges(net, sources, wanted, batch_size)
    rows = next(iter(sources.values())).shape[0]
    if not rows:
        raise InputError("the input files have no rows")
    if format is None:
        columnar = any(source.column for source in sources.values())
        format = "parquet" if columnar else "npz" if len(wanted) > 1 else "npy"
    if format == "npy" and len(wanted) > 1:
        raise InputError(
            f"a .npy file holds one array, there are {len(wanted)} ({', '.join(wanted)}): write .npz or .parquet"
        )
    outputs = _outputs(net, wanted, sources)
    job = Job(folder, format, sources, wanted, outputs, rows, batch_size, ())
    if format == "parquet":
        _check_columns(job)
    return Job(folder, format, sources, wanted, outputs, rows, batch_size, _cut(job))


def _outputs(
    net: Network, wanted: Mapping[str, TensorRef], sources: Mapping[str, Source]
) -> dict[str, Output]:
    shaped = net.shaped({name: (PROBE, *source.row_shape) for name, source in sources.items()})
    found = {}
    for name, ref in wanted.items():
        tensor = shaped.type_of(ref)
        if tensor is None:  # a layer refuses these sizes: have it say why
            zeros = {n: np.zeros((PROBE, *s.row_shape), s.dtype) for n, s in sources.items()}
            net.compute(zeros, wanted)
            raise InputError(f"the shape of output {name} is not known")
        shape = tuple(d for d in tensor.shape[1:] if isinstance(d, int))
        found[name] = Output(shape, tensor.dtype)
    return found


def _check_columns(job: Job) -> None:
    """That the outputs fit into a Parquet file, beside the columns that are kept."""
    parquet.pyarrow()
    for name, output in job.outputs.items():
        parquet.output_field(name, output.shape, output.dtype)
    kept = job.id_source.ids if job.id_source.column else ("file", "row")
    for name in kept:
        if name in job.outputs:
            raise InputError(
                f"{job.id_source.files[0].path}: column {name} would be kept, but an output has the same name; "
                "write --output 'folder/*.npz', or give the output another name in the network"
            )


def _cut(job: Job) -> tuple[Shard, ...]:
    """Whole batches, as many to a shard as come to SHARD_BYTES, and fewer where that gives few shards."""
    sizes = [math.prod(s.row_shape) * s.dtype.itemsize for s in job.sources.values()]
    sizes += [math.prod(o.shape) * np.dtype(o.dtype).itemsize for o in job.outputs.values()]
    batches = -(-job.rows // job.batch_size)
    by_size = SHARD_BYTES // max(sum(sizes) * job.batch_size, 1)
    step = max(min(by_size, -(-batches // LEAST_SHARDS)), 1) * job.batch_size
    starts = range(0, job.rows, step)
    if len(starts) > 10**7:
        raise DeviceError(f"{len(starts):,} shards are too many: take a larger batch size")
    digits = max(5, len(str(len(starts) - 1)))
    return tuple(
        Shard(index, start, min(start + step, job.rows), f"part-{index:0{digits}}.{job.format}")
        for index, start in enumerate(starts)
    )
