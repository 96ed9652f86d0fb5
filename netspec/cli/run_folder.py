"""`netspec run --output folder/`, and `netspec run` on a cluster: a job in shards."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from netspec.diagnostics import InputError
from netspec.graph import TensorRef
from netspec.runtime.network import Network
from netspec.runtime.profile import Profile

if TYPE_CHECKING:
    from netspec.cli.run import Options
    from netspec.engine.job import Job
    from netspec.engine.run import Result


def folder_of(output: str | None) -> tuple[Path, str | None] | None:
    """The folder and the format that `--output` means (`out/`, `out/*.parquet`); None: it means a file."""
    if output is None or output == "-":
        return None
    path = Path(output)
    if path.name.startswith("*."):
        from netspec.engine.job import FORMATS

        if path.suffix[1:] not in FORMATS:
            shown = ", ".join(f"*.{format}" for format in FORMATS)
            raise typer.BadParameter(f"expected one of {shown}, got {path.name}", param_hint="--output")
        return path.parent, path.suffix[1:]
    return (path, None) if output.endswith(("/", "\\")) or path.is_dir() else None


def run_folder(
    options: Options,
    net: Network,
    wanted: Mapping[str, TensorRef],
    profile: Profile,
    folder: Path,
    format: str | None,
) -> None:
    """Compute the shards that are not there yet, and print what there is."""
    from netspec.cli.run import ROWS_SHOWN, best_classes, output_table

    job = _plan(options, net, wanted, folder, format)
    result = _run(options, net, job, profile)
    rows = ((n, (job.rows, *o.shape), o.dtype, result.ranges[n]) for n, o in job.outputs.items())
    print(output_table(rows))
    first = _head(job, ROWS_SHOWN)
    for text in best_classes(net, first, job.rows - len(next(iter(first.values())))):
        print(text)
    count = len(job.shards)
    before = f", {result.before} of them by an earlier run" if result.before else ""
    print(f"wrote {folder} ({count} .{job.format} {'shard' if count == 1 else 'shards'}{before})")


def _head(job: Job, count: int) -> dict[str, Any]:
    """The first rows of every output."""
    import numpy as np

    from netspec.engine.shards import read_shard

    parts: dict[str, list[Any]] = {name: [] for name in job.outputs}
    rows = 0
    for found in (found for shard in job.shards for found in read_shard(job, shard)):
        for name, array in found.items():
            parts[name].append(array[: count - rows])
        rows = sum(map(len, next(iter(parts.values()))))
        if rows >= count:
            break
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def run_on_engine(
    options: Options, net: Network, wanted: Mapping[str, TensorRef], profile: Profile, target: Path | None
) -> tuple[dict[str, Any], bool]:
    """The outputs for one file, and whether it is written: shards in a hidden folder beside it, put together."""
    from netspec.engine.shards import read_shard
    from netspec.runtime.batches import rows_in_memory, rows_to_file

    beside = target or Path("output")
    folder = beside.parent / f".{beside.name}.shards"
    job = _plan(options, net, wanted, folder, "npz" if len(wanted) > 1 else "npy")
    _run(options, net, job, profile)
    blocks = ((shard.start, rows) for shard in job.shards for rows in read_shard(job, shard))
    streamed = target is not None and target.suffix in (".npy", ".npz")
    if streamed and target is not None:
        results = rows_to_file(blocks, job.rows, target)
    else:
        results = rows_in_memory(blocks, job.rows)
    shutil.rmtree(folder, ignore_errors=True)
    return results, streamed


def _plan(
    options: Options, net: Network, wanted: Mapping[str, TensorRef], folder: Path, format: str | None
) -> Job:
    from netspec.cli.run_inputs import input_sources
    from netspec.engine.job import plan_job

    sources = input_sources(options.inputs, net, wanted)
    batch_size = options.batch_size or net.batch_size
    job = plan_job(net, wanted, sources, folder.absolute(), format, batch_size)
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise InputError(f"the folder {folder.parent} does not exist") from None
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from None
    return job


def _run(options: Options, net: Network, job: Job, profile: Profile) -> Result:
    from netspec.cli.run import progress
    from netspec.engine.run import run_job

    device = options.device or profile.device
    return run_job(net, job, profile.engine, device, partial(progress, "shards"))
