"""Where a network runs: the backend of a device, opened when it is asked for."""

from __future__ import annotations

from netspec.backends.base import Backend
from netspec.diagnostics import DeviceError, InputError
from netspec.runtime.profile import DEVICE, Cuda

MEGABYTE = 1 << 20


def open_backend(device: str, cuda: Cuda = Cuda()) -> Backend:  # noqa: B008  (frozen)
    """The backend of a device. Raises `DeviceError` if the machine has none such: what is missing, how to get it."""
    if not isinstance(device, str) or not DEVICE.fullmatch(device):
        raise InputError(f"device: expected cpu, cuda or cuda:N, got {device!r}")
    if device == "cpu":
        from netspec.backends.numpy.backend import NumpyBackend

        return NumpyBackend()
    from netspec.backends.cupy import device as opening

    limit = None if cuda.memory_limit_mb is None else int(cuda.memory_limit_mb * MEGABYTE)
    try:
        opened = opening.opened(int(device[5:] or 0), limit)
    except opening.DeviceProblem as problem:
        raise DeviceError(f"device {device}: {problem}") from None
    from netspec.backends.cupy.backend import CupyBackend

    return CupyBackend(opened, cuda.graphs, cuda.deterministic)
