"""Run profiles, `runners/*.yaml`: where and how fast a network runs, never what it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from netspec.diagnostics import Diagnostic, SpecError
from netspec.document import Document, from_python, read_file, to_python
from netspec.document import Mapping as MappingNode
from netspec.layers.parameters import Count, choice, describe, is_integer, wrong_type
from netspec.layers.tensor import COMPLEX, FLOATS
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


class Profile(BaseModel):
    """How a network runs. A flag wins over the profile, the profile over the default."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    runner: Annotated[int, PlainValidator(_version), WithJsonSchema({"const": 1})]
    """Version of the profile's format: 1."""
    device: Annotated[
        str,
        PlainValidator(check_device),
        WithJsonSchema({"type": "string", "pattern": "^(cpu|cuda(:[0-9]+)?)$"}),
    ] = "cpu"
    """Where it runs: cpu, cuda or cuda:N."""
    dtype: choice(*FLOATS, *COMPLEX) = "float32"  # type: ignore[valid-type]
    """Type of the parameters and of floating inputs."""
    precision: choice("high", "highest") = "high"  # type: ignore[valid-type]
    """high: fast float32 forms within 1e-4 of float64; highest: strict float32."""
    threads: Count | None = None
    """Threads of the matrix products; default: as many as the library takes by itself."""
    batch_size: Count | None = None
    """Rows of the first axis that are run at a time by `netspec run`; default: all at once."""


def read_profile(source: str | os.PathLike[str] | Mapping[str, Any]) -> Profile:
    """The profile of a file or a mapping. Raises `SpecError` with every diagnostic."""
    document = from_python(dict(source)) if isinstance(source, Mapping) else read_file(source)
    profile, found = analyse_profile(document)
    if profile is None:
        raise SpecError(found)
    return profile


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
        found += diagnostics_of(
            error,
            Profile,
            "the run profile",
            root,
            (),
            options=list(Profile.model_fields),
            complete=root.complete,
        )
    return (None if found else profile), found
