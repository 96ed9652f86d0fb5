"""`netspec serve`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from netspec.diagnostics import DeviceError, InputError
from netspec.runtime.profile import Profile, Service, read_profile


def run_serve(files: Sequence[Path], runner: Path | None, host: str | None, port: int | None) -> int:
    """Serve the networks until a signal; the exit code."""
    profile = read_profile(runner) if runner is not None else Profile(runner=1)
    if profile.engine.kind != "local":
        raise InputError(
            f"netspec serve runs in this process: engine: expected local, got {profile.engine.kind}"
        )
    if host == "":
        raise typer.BadParameter("expected a host name or an address", param_hint="--host")
    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    service = Service.model_validate({**profile.service.model_dump(), **given})
    try:
        from netspec.service.server import serve
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("starlette", "uvicorn", "prometheus_client"):
            raise
        raise DeviceError(
            f'netspec serve needs {missing}, which is not installed: pip install "netspec-runner[serve]"'
        ) from None
    return 0 if serve(files, profile.model_copy(update={"service": service})) else 1
