"""The shards of a job as a Ray Dataset, mapped by actors that each load the network once.

What travels through Ray are the network's mapping and its arrays, put into the object store once and mapped
by every worker of a machine, then the number of each shard and the report that it is done. Rows are read and
written by the workers, so the input files and the output folder have to be seen under the same path by all
machines of the cluster.

A worker that dies is started again by Ray, and the shard that it was computing is computed again: at most
`shards.ATTEMPTS` times, so that a shard which cannot be computed does not take the rest with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from netspec.diagnostics import DeviceError, NetspecError
from netspec.engine.job import Job, Shard
from netspec.engine.shards import Done, compute_shard
from netspec.network.write import to_mapping
from netspec.runtime.network import Network
from netspec.runtime.profile import Cuda, Engine

log = logging.getLogger("netspec")

OBJECT_STORE = 128 << 20
"""Bytes of a local cluster's object store, beside two times the weights; Ray's least is 75 MiB."""
REACH_SECONDS = 5.0
"""How long a cluster's address is tried."""
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""What both sides of a gRPC connection, such as Ray's, begin with (RFC 9113, 3.4)."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning about CUDA_VISIBLE_DEVICES
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
"""Ray's log stays in its own files; what is already set in the environment is left."""


@dataclass(frozen=True)
class _Payload:
    """All that a worker needs, in one object."""

    job: Job
    mapping: dict[str, Any]
    arrays: dict[str, Any]
    device: str
    dtype: str
    precision: str
    threads: int | None
    jit: bool
    autotune: bool
    cuda: Cuda


class _Worker:
    """One copy of the network, in a process of its own."""

    def __init__(self, held: list[Any]) -> None:
        from netspec.api import load

        ray = import_module("ray")
        payload: _Payload = ray.get(held[0])
        self.job = payload.job
        self.net = load(
            payload.mapping,
            weights=payload.arrays,
            device=payload.device,
            dtype=payload.dtype,
            precision=payload.precision,
            threads=payload.threads,
            jit=payload.jit,
            autotune=payload.autotune,
            cuda=payload.cuda,
        )
        self.restarted = bool(ray.get_runtime_context().was_current_actor_reconstructed)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        reports = []
        for index in batch["shard"]:
            try:
                done = compute_shard(self.net, self.job, self.job.shards[int(index)])
            except NetspecError as error:  # as a report: Ray would wrap it and print where it came from
                reports.append(json.dumps({"stop": type(error).__name__, "message": str(error)}))
                continue
            except MemoryError as error:
                reports.append(json.dumps({"stop": "DeviceError", "message": f"not enough memory: {error}"}))
                continue
            done.restarted = self.restarted
            reports.append(json.dumps(done.to_json()))
        return {"report": reports}


def run_ray(net: Network, job: Job, shards: Iterable[Shard], engine: Engine, device: str) -> Iterator[Done]:
    """Each shard as some worker has done it, in any order.

    Raises `DeviceError` if Ray is not installed, the cluster cannot be reached, or its workers keep dying.
    """
    ray = _import_ray()
    todo = [{"shard": shard.index} for shard in shards]
    arrays = net.state_dict()
    cpus = net.threads or 1
    size = sum(array.nbytes for array in arrays.values())
    with _cluster(ray, engine, cpus, OBJECT_STORE + 2 * size, device) as workers:
        payload = _Payload(
            job,
            to_mapping(net.spec),
            arrays,
            device if device == "cpu" else "cuda",  # Ray shows each worker only the device that it may use
            net.kept_as or net.dtype,
            net.precision,
            net.threads,
            net.jit,
            net.autotune,
            net.cuda,
        )
        held = [ray.put(payload)]  # inside a list, or Ray would unpack it for every call
        dataset = ray.data.from_items(todo, override_num_blocks=len(todo)).map_batches(
            _Worker,
            batch_size=1,
            fn_constructor_args=(held,),
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=min(workers, len(todo)), max_tasks_in_flight_per_actor=2
            ),
            num_cpus=cpus,
            num_gpus=0 if device == "cpu" else 1,
        )
        told = False
        for row in dataset.iter_rows():
            report = json.loads(row["report"])
            if "stop" in report:
                raise _error(report["stop"])(report["message"])
            done = Done.from_json(report)
            if done.restarted and not told:
                told = True
                log.info("a worker died and was started again; what it was computing is computed again")
            yield done


def _error(name: str) -> type[NetspecError]:
    return getattr(import_module("netspec.diagnostics"), name, NetspecError)


# --- the cluster ------------------------------------------------------------------------------------


def _import_ray() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings(), _no_stderr():
            warnings.simplefilter("ignore")  # Ray's own, about what it imports
            import_module("ray.data")
            return import_module("ray")
    except ImportError as error:
        raise DeviceError(
            f"engine: {{kind: ray}} needs Ray: pip install 'netspec-runner[ray]' ({error})"
        ) from None


@contextlib.contextmanager
def _cluster(ray: Any, engine: Engine, cpus: int, store: int, device: str) -> Iterator[int]:
    """A connection to the cluster of the profile, or one of this machine's own; yields the most workers."""
    mine = not ray.is_initialized()
    with _quiet(ray):
        if mine:
            _connect(ray, engine, cpus, store)
        try:
            total = ray.cluster_resources()
            if device != "cpu" and not total.get("GPU"):
                raise DeviceError(f"device {device}: the Ray cluster has no GPU")
            if cpus > total.get("CPU", 0):
                raise DeviceError(f"threads: {cpus}: the Ray cluster has {total.get('CPU', 0):g} CPUs")
            yield engine.workers or max(int(total["CPU"] // cpus), 1)
        except ray.exceptions.RayTaskError:
            raise  # a fault of ours: with its traceback
        except ray.exceptions.RayError as error:
            raise DeviceError(f"Ray: {_first_line(error)}") from None
        finally:
            if mine:
                ray.shutdown()


def _connect(ray: Any, engine: Engine, cpus: int, store: int) -> None:
    address = engine.address
    if address == "auto" and not _running():
        address = "local"
    arguments: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if address in (None, "local"):
        arguments |= {"address": "local", "object_store_memory": store, "include_dashboard": False}
        if engine.workers:
            arguments["num_cpus"] = max(engine.workers * cpus, os.cpu_count() or 1)
        failed = "cannot start a Ray cluster on this machine"
    else:
        if address != "auto":
            _reach(str(address))
        arguments["address"] = address
        failed = f"cannot join the Ray cluster at {address}"
        if not os.environ.get("RAY_AUTH_MODE"):
            failed += " (one with tokens needs RAY_AUTH_MODE=token and its token)"
    try:
        with _no_stderr():
            ray.init(**arguments)
    except (Exception, SystemExit) as error:  # Ray gives up in many ways, one of them is to leave the process
        raise DeviceError(f"engine: {failed}: {_first_line(error)}") from None


def _running() -> bool:
    """Whether there is a cluster that `auto` means.

    Raises `DeviceError` for one that RAY_ADDRESS names and that does not answer. What `ray start` leaves
    running on a machine is named where Ray's documentation says; the name may be older than the cluster.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named:
        if named not in ("auto", "local"):
            _reach(named)
        return named != "local"
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    try:
        _reach(file.read_text().strip())
    except (OSError, DeviceError):
        return False
    return True


def _reach(address: str) -> None:
    """Try the address itself: Ray would try for a minute, and tell it as a failed check of its own."""
    if address.startswith("ray://"):
        raise DeviceError(
            f"engine: address: {address} is Ray Client's, over which Ray Data does not run: give host:6379, on a "
            "machine that can reach the cluster's, or run the command there (ray job submit)"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise DeviceError(f"engine: address: expected auto, local or host:port, got {address}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                connection.settimeout(REACH_SECONDS)
                connection.sendall(HTTP2_PREFACE + HTTP2_SETTINGS)
                if connection.recv(9)[3:4] != HTTP2_SETTINGS[3:4]:
                    raise OSError("what answers there is not Ray")
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"engine: cannot reach the Ray cluster at {address}: {_first_line(error)}; "
            "address: local starts one on this machine"
        ) from None


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Nothing reaches the standard error of this process: Ray's C++ writes there, past Python."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Ray prints what its machines tell on standard output, where the results go: drop it (it is in Ray's log)."""
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"ray\.")
        try:
            yield
        finally:
            context.enable_progress_bars = before


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
