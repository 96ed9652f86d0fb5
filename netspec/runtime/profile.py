"""Run profiles, `runners/*.yaml`: where and how fast a network runs, never what it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from netspec.diagnostics import Diagnostic, SpecError, did_you_mean
from netspec.document import Document, from_python, read_file, to_python
from netspec.document import Mapping as MappingNode
from netspec.layers.parameters import (
    Bool,
    Count,
    choice,
    describe,
    integer,
    is_integer,
    number,
    wrong_type,
)
from netspec.layers.tensor import COMPLEX, FLOATS, NARROW
from netspec.network.errors import diagnostics_of

DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def check_device(value: Any) -> str:
    """cpu, cuda or cuda:N."""
    if not isinstance(value, str) or not DEVICE.fullmatch(value):
        raise wrong_type("cpu, cuda or cuda:N", value)
    return value


def _version(value: Any) -> int:
    if value != 1 or not is_integer(value):
        raise PydanticCustomError(
            "unknown-version", "expected profile version 1, got {got}", {"got": describe(value)}
        )
    return 1


def _part(expected: str) -> BeforeValidator:
    """Refuses what is no mapping in our words."""

    def validate(value: Any) -> Any:
        if not isinstance(value, dict | BaseModel):
            raise wrong_type(expected, value)
        return value

    return BeforeValidator(validate)


def _text(expected: str) -> Any:
    def validate(value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise wrong_type(expected, value)
        return value

    return Annotated[str, PlainValidator(validate), WithJsonSchema({"type": "string", "minLength": 1})]


_CONFIG = ConfigDict(strict=True, extra="forbid", frozen=True)
Seconds = number("a number of seconds >= 0", 0.0, 86_400.0, finite=True)
Megabytes = number("a number of MiB between 0.001 and 1048576", 0.001, 1_048_576.0, finite=True)


class Engine(BaseModel):
    """What the network runs on: this process, or a Ray cluster.

    Example:
        {kind: ray, address: auto, workers: 4}
    """

    model_config = _CONFIG

    kind: choice("local", "ray")  # type: ignore[valid-type]
    """local: this process; ray: the workers of a Ray cluster (extra `ray`)."""
    address: _text("a text such as auto or ray://host:10001") | None = None  # type: ignore[valid-type]
    """Of a running Ray cluster, or auto for the one that is found; default: a cluster of this machine's own."""
    workers: Count | None = None
    """Copies of the network that run at a time; default: one for each CPU of the cluster."""

    @model_validator(mode="after")
    def _only_what_the_kind_takes(self) -> Engine:
        for field in ("address", "workers"):
            if self.kind == "local" and getattr(self, field) is not None:
                message = "{field} belongs to kind: ray, the engine is local"
                raise PydanticCustomError("conflicting-parameters", message, {"field": field})
        return self


class Service(BaseModel):
    """How `netspec serve` answers: where it listens, what it gathers, what it refuses.

    Example:
        {host: 127.0.0.1, port: 8000, max_batch: 32, max_delay_ms: 2}
    """

    model_config = _CONFIG

    host: _text("a host name or an address") = "127.0.0.1"  # type: ignore[valid-type]
    """Address it listens on; 0.0.0.0 is every interface of the machine."""
    port: integer("a port between 0 and 65535", 0, 65_535) = 8000  # type: ignore[valid-type]
    """Port it listens on; 0: a free one, which is printed."""
    max_batch: Count = 32
    """Rows of the first axis that are computed together; 1: every request on its own."""
    max_delay_ms: number("a number of milliseconds >= 0", 0.0, 60_000.0, finite=True) = 2.0  # type: ignore[valid-type]
    """Longest that a request waits for others to be computed with, in milliseconds."""
    workers: integer("an integer between 1 and 64", 1, 64) = 1  # type: ignore[valid-type]
    """Threads that compute, for each model."""
    max_queue: Count = 256
    """Requests of one model that wait or are being read; the next ones are answered 503 with Retry-After."""
    max_request_mb: Megabytes = 64.0  # type: ignore[valid-type]
    """Largest request body in MiB, also after decompression; larger ones are answered 413."""
    max_json_mb: Megabytes = 16.0  # type: ignore[valid-type]
    """Largest JSON part of a request in MiB; tensors beyond it are sent in binary."""
    max_memory_mb: Megabytes = 1024.0  # type: ignore[valid-type]
    """MiB of request bodies that are held at a time; what would go beyond is answered 503 with Retry-After."""
    timeout_seconds: number("a number of seconds between 0.001 and 86400", 0.001, 86_400.0) = 60.0  # type: ignore[valid-type]
    """Longest that a request may take, from its headers to its answer; 504 then."""
    drain_seconds: Seconds = 10.0  # type: ignore[valid-type]
    """Longest that accepted requests are still answered after SIGTERM."""
    reload_seconds: Seconds = 2.0  # type: ignore[valid-type]
    """How often the files of the models are looked at for changes, in seconds; 0: only on SIGHUP."""
    model_control: Bool = False
    """Whether clients may load and unload the models that the command line names."""
    token_file: _text("the path of a file") | None = None  # type: ignore[valid-type]
    """File with the token that requests must bring (`Authorization: Bearer ...`), relative to the profile.
    Default: the environment variable NETSPEC_TOKEN, without it no token."""


class Cuda(BaseModel):
    """How a CUDA device is used.

    Example:
        {graphs: true, deterministic: false, memory_limit_mb: 4096}
    """

    model_config = _CONFIG

    graphs: Bool = True
    """From the second call of a shape on, all its kernels are started at once, as one CUDA graph."""
    deterministic: Bool = False
    """Only kernels that give the same bits in every run; convolutions may be slower."""
    memory_limit_mb: Megabytes | None = None  # type: ignore[valid-type]
    """Most memory of the device that is taken, in MiB; default: as much as is free."""


class Profile(BaseModel):
    """How a network runs. A flag wins over the profile, the profile over the default."""

    model_config = _CONFIG

    runner: Annotated[int, PlainValidator(_version), WithJsonSchema({"const": 1})]
    """Version of the profile's format: 1."""
    device: Annotated[
        str,
        PlainValidator(check_device),
        WithJsonSchema({"type": "string", "pattern": "^(cpu|cuda(:[0-9]+)?)$"}),
    ] = "cpu"
    """Where it runs: cpu, cuda or cuda:N."""
    dtype: choice(*FLOATS, *NARROW, *COMPLEX) = "float32"  # type: ignore[valid-type]
    """Type of the parameters and of floating inputs; bfloat16 (on CUDA): of what is computed, inputs and outputs
    are float32."""
    precision: choice("high", "highest") = "high"  # type: ignore[valid-type]
    """high: fast float32 forms within 1e-4 of float64; highest: strict float32."""
    threads: Count | None = None
    """Threads in all that share the work; default: the processors that this process may use."""
    autotune: Bool = False
    """Measure the forms of a convolution once on this machine and remember the fastest, instead of estimating."""
    jit: Bool = False
    """Compiled kernels where there are any (extra `jit`); the first run compiles, for some seconds."""
    batch_size: Count | None = None
    """Rows of the first axis that are run at a time by `netspec run`; default: all at once."""
    cuda: Annotated[Cuda, _part("a mapping such as {graphs: false}")] = Cuda()
    """How a CUDA device is used."""
    engine: Annotated[Engine, _part("a mapping such as {kind: ray, address: auto}")] = Engine(kind="local")
    """What it runs on: this process, or a Ray cluster."""
    service: Annotated[Service, _part("a mapping such as {port: 8000}")] = Service()
    """How `netspec serve` answers."""


def read_profile(source: str | os.PathLike[str] | Mapping[str, Any]) -> Profile:
    """The profile of a file or a mapping. Raises `SpecError` with every diagnostic."""
    document = from_python(dict(source)) if isinstance(source, Mapping) else read_file(source)
    profile, found = analyse_profile(document)
    if profile is None:
        raise SpecError(found)
    return profile if isinstance(source, Mapping) else _beside(profile, Path(source).parent)


def profile_of(source: str | os.PathLike[str] | Mapping[str, Any] | Profile | None) -> Profile:
    """A profile that may be given as such, to be read, or left out."""
    if source is None:
        return Profile(runner=1)
    return source if isinstance(source, Profile) else read_profile(source)


def _beside(profile: Profile, folder: Path) -> Profile:
    """The profile with its paths taken from where it lies."""
    token = profile.service.token_file
    if token is None:
        return profile
    service = profile.service.model_copy(update={"token_file": str(folder / token)})
    return profile.model_copy(update={"service": service})


def analyse_profile(document: Document) -> tuple[Profile | None, list[Diagnostic]]:
    """The profile of a document (None with errors), and what is wrong with it."""
    found = list(document.diagnostics)
    root = document.root
    if not isinstance(root, MappingNode):
        if not found:
            found.append(
                Diagnostic("wrong-type", "error", "a run profile is a mapping that starts with `runner: 1`",
                           root.span if root is not None else None)
            )  # fmt: skip
        return None, found
    profile = None
    try:
        profile = Profile.model_validate(to_python(root))
    except ValidationError as error:
        options = list(Profile.model_fields)
        refused = diagnostics_of(
            error, Profile, "the run profile", root, (), options=options, complete=root.complete
        )
        found += map(_with_known_keys, refused)
    return (None if found else profile), found


def _with_known_keys(found: Diagnostic) -> Diagnostic:
    """For a key that a part of the profile has not: the nearest it has, or all."""
    part, _, key = (found.path or "").partition(".")
    if found.code != "unknown-key" or part not in _PARTS or not key:
        return found
    known = list(_PARTS[part].model_fields)
    return replace(found, help=did_you_mean(key, known) or f"known here: {', '.join(known)}")


_PARTS: dict[str, type[BaseModel]] = {"cuda": Cuda, "engine": Engine, "service": Service}
"""The keys of a profile that are mappings themselves."""
