"""Where a network runs: the backend of a device, opened when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from netspec.backends.base import Backend
from netspec.diagnostics import DeviceError, InputError
from netspec.runtime.profile import DEVICE, Cuda

MEGABYTE = 1 << 20


def open_backend(device: str, cuda: Cuda, kept_as: str | None) -> Backend:
    """The backend of a device. Raises `DeviceError` if the machine has none such: what is missing, how to get it."""
    if not isinstance(device, str) or not DEVICE.fullmatch(device):
        raise InputError(f"device: expected cpu, cuda or cuda:N, got {device!r}")
    if kept_as is not None:
        _need(kept_as, device)
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


def device_error(error: Exception, device: str) -> Exception:
    """What is said of an exception that a device caused; memory that is short in this process stays as it is."""
    if not isinstance(error, MemoryError):
        return DeviceError(f"the {device} device failed: {error}")
    if device == "cpu":
        return error
    return DeviceError(
        f"the {device} device has not enough memory ({error}): use a smaller batch (--batch-size), or float16"
    )


@contextmanager
def working_on(backend: Backend, device: str) -> Iterator[None]:
    """Raises `DeviceError` where the device fails, or has not enough memory."""
    try:
        yield
    except backend.failures as error:
        raise device_error(error, device) from None


def _need(dtype: str, device: str) -> None:
    """Raises `DeviceError` where values cannot be kept in a dtype that NumPy has not."""
    if device == "cpu":
        raise DeviceError(f"dtype {dtype} runs on CUDA devices alone; on the CPU use float32")
    try:
        import ml_dtypes  # noqa: F401  (the import makes the name known to NumPy)
    except ImportError:
        raise DeviceError(
            f'dtype {dtype} needs ml_dtypes, which is not installed: pip install "netspec-runner[cuda13]"'
        ) from None
