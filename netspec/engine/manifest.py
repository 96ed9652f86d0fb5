"""manifest.json of a job's folder: what was asked for, and with it which finished shards are still right.

A shard is finished when its file is there: it gets its name only once it is complete. It is right when the
digest of all that its values depend on is what the manifest says: the network, the values of the weights,
dtype, precision, batch size, outputs, and path, size and time of change of the files that its rows are from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError
from netspec.engine.job import Job, Shard
from netspec.interop.files import write_beside
from netspec.network.write import to_mapping
from netspec.runtime.network import Network

FILE = "manifest.json"
VERSION = 1


def describe_job(net: Network, job: Job) -> dict[str, Any]:
    """The manifest of a job, as JSON values."""
    program = {
        "network": _digest({k: v for k, v in to_mapping(net.spec).items() if k != "weights"}),
        "weights": _weights(net),
        "dtype": net.kept_as or net.dtype,
        "precision": net.precision,
        "jit": net.jit,
        "outputs": {name: [ref.node, ref.port] for name, ref in job.wanted.items()},
        "batch_size": job.batch_size,
        "format": job.format,
    }
    return {
        "netspec_job": VERSION,
        "name": net.spec.name,
        "rows": job.rows,
        "program": program,
        "outputs": {
            n: {"shape": [job.rows, *o.shape], "dtype": o.dtype} for n, o in job.outputs.items()
        },
        "inputs": {
            name: {
                "column": source.column or None,
                "files": [[f.path, f.rows, f.size, f.modified] for f in source.files],
            }
            for name, source in job.sources.items()
        },
        "shards": {
            shard.file: {"rows": [shard.start, shard.stop], "digest": _digest([program, _origin(job, shard)])}
            for shard in job.shards
        },
    }  # fmt: skip


def _origin(job: Job, shard: Shard) -> Any:
    """Where the rows of a shard are from."""
    return {
        name: [
            source.column,
            [[f.path, a, b, f.size, f.modified] for f, a, b in source.pieces(shard.start, shard.stop)],
        ]
        for name, source in job.sources.items()
    }


def _weights(net: Network) -> str:
    """Digest of the values, whatever file they are from (and of those that were drawn)."""
    import numpy as np

    found = hashlib.sha256()
    for name, array in net.state_dict().items():
        found.update(f"{name} {array.shape} {array.dtype}".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view("u1").data)
    return found.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Put it into the folder, beside and renamed."""
    with write_beside(folder / FILE) as file:
        file.write(json.dumps(manifest, indent=1).encode())


def finished_shards(job: Job, manifest: Mapping[str, Any]) -> set[int]:
    """Indices of the shards that need not be computed again.

    Raises `InputError` if the folder holds shards of something else: nothing is ever overwritten.
    """
    there = sorted(p.name for p in job.folder.glob("part-*") if p.is_file())
    if not there:
        return set()
    before = _read(job.folder)
    if before is None:
        raise InputError(
            f"{near(job.folder)} holds {there[0]} and no {FILE} that says what it is: choose another --output"
        )
    shards, known = manifest["shards"], before.get("shards", {})
    right = {name for name in there if name in shards and known.get(name) == shards[name]}
    if len(right) < len(there):
        raise InputError(
            f"{near(job.folder)} holds {len(there)} finished shards of another run: "
            f"{'; '.join(differences(before, manifest))}. Choose another --output, or remove the folder"
        )
    return {shard.index for shard in job.shards if shard.file in right}


def near(path: str | Path) -> str:
    """A path as people type it: from the working directory where it is below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("netspec_job") != VERSION:
        return None
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What makes two jobs different, in words."""
    found = []
    old, new = before.get("program", {}), now["program"]
    for key in ("network", "weights", "outputs"):
        if old.get(key) != new[key]:
            found.append(f"the {key} differ{'s' * (key == 'network')}")
    for key in ("dtype", "precision", "jit", "batch_size", "format"):
        if old.get(key) != new[key]:
            found.append(f"{key} was {old.get(key)}, now it is {new[key]}")
    for name, source in now["inputs"].items():
        found += _changed_files(name, before.get("inputs", {}).get(name, {}), source)
    return found or ["its files are not what its manifest says"]


def _changed_files(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if before.get("column") != now["column"]:
        return [f"input {name} is read from another column"]
    old = {file[0]: file[1:] for file in before.get("files", [])}
    new = {file[0]: file[1:] for file in now["files"]}
    kinds = {
        "was added": [path for path in new if path not in old],
        "is gone": [path for path in old if path not in new],
        "was changed": [path for path in new if path in old and old[path] != new[path]],
    }
    return [
        f"input {name}: {near(paths[0])} {what}" + (f", and {len(paths) - 1} more" if len(paths) > 1 else "")
        for what, paths in kinds.items()
        if paths
    ]
