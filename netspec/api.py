"""The public functions: parse, validate, shapes, load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from netspec.analysis import Analysis, analyse_file, analyse_mapping, analyse_spec
from netspec.diagnostics import Diagnostic, InputError, SpecError
from netspec.network import NetworkSpec
from netspec.runtime.network import Network, check_dtype, outer_dtype
from netspec.runtime.profile import Cuda, Profile, profile_of, read_profile

Source = str | os.PathLike[str] | Mapping[str, Any] | NetworkSpec


def _analyse(source: Source, dtype: str = "float32") -> Analysis:
    if isinstance(source, NetworkSpec):
        return analyse_spec(source, dtype)
    if isinstance(source, Mapping):
        return analyse_mapping(source, dtype)
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"expected a path, a mapping or a NetworkSpec, got a {type(source).__name__}")
    return analyse_file(source, dtype)


def _valid(source: Source, dtype: str = "float32") -> Analysis:
    analysis = _analyse(source, dtype)
    if not analysis.valid:
        raise SpecError(analysis.diagnostics)
    return analysis


def parse(source: Source) -> NetworkSpec:
    """The network of a YAML file or mapping, checked as a whole.

    Raises `SpecError` with every diagnostic if anything is wrong with it.
    """
    spec = _valid(source).spec
    assert spec is not None
    return spec


def validate(source: Source) -> list[Diagnostic]:
    """Every diagnostic of a network file or mapping, warnings included; never raises for bad input."""
    return list(_analyse(source).diagnostics)


def shapes(source: Source, **inputs: Any) -> dict[str, Any]:
    """Every layer's output shape, parameters and multiply-adds, as `netspec shapes --format json` gives it.

    inputs: shapes by input name where they are known (`image=(1, 1, 28, 28)`); sizes stay symbolic
    otherwise. Raises `SpecError` for a wrong network, `InputError` for sizes it does not take.
    """
    from netspec.report.shapes import shape_report

    return shape_report(_valid(source), inputs)


def load(
    source: Source,
    weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    device: str | None = None,
    dtype: Any = None,
    precision: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    mode: str = "eval",
    runner: str | os.PathLike[str] | Mapping[str, Any] | Profile | None = None,
    jit: bool | None = None,
    autotune: bool | None = None,
    cuda: Cuda | Mapping[str, Any] | None = None,
) -> Network:
    """A network ready to run, from a path, a mapping or a `NetworkSpec`.

    weights: a checkpoint's path or a mapping of names to arrays; default: the file's `weights`, else the
    declared or torch's default initialisation, drawn from `seed`. device: cpu, cuda or cuda:N; dtype: of
    parameters and floating inputs (bfloat16, on CUDA: of what is computed between float32 ones). jit: compiled
    kernels (extra `jit`) where there are any; autotune: the forms of a convolution are measured once on this
    machine, not estimated. cuda: how a CUDA device is used, as in a run profile (graphs, deterministic,
    memory_limit_mb).
    Arguments win over the run profile `runner`. Raises `SpecError`, `WeightsError`,
    `DeviceError`.
    """
    profile = profile_of(runner)
    if isinstance(cuda, Mapping):
        cuda = read_profile({"runner": 1, "cuda": dict(cuda)}).cuda
    dtype = check_dtype(dtype or profile.dtype)
    outer = outer_dtype(dtype)
    return Network(
        _valid(source, outer),
        kept_as=None if outer == dtype else dtype,
        weights=weights,
        device=profile.device if device is None else device,
        precision=precision or profile.precision,
        threads=threads if threads is not None else profile.threads,
        batch_size=profile.batch_size,
        seed=seed,
        mode=mode,
        jit=profile.jit if jit is None else jit,
        autotune=profile.autotune if autotune is None else autotune,
        cuda=profile.cuda if cuda is None else cuda,
    )
