"""What the device's own methods ask of CuPy, with stand-ins for its streams, graphs and compiler."""

from __future__ import annotations

import functools
import gc
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.backends.cupy import compiled
from netspec.backends.cupy import device as devices
from netspec.backends.cupy.device import COMPILED_WITH, Device
from tests.backends.cupy.host import HostDevice, cuda_is_host

LENET = Path(__file__).resolve().parents[3] / "configs" / "lenet5.yaml"


class Failure(Exception):
    """What the driver raises here."""


class Stream:
    """One that tells what it was asked for."""

    ptr = 7

    def __init__(self, broken: bool = False, **_: Any) -> None:
        self.broken, self.asked = broken, list[str]()

    def synchronize(self) -> None:
        self.asked.append("wait")
        if self.broken:
            raise Failure("sticky")

    def begin_capture(self, mode: int) -> None:
        self.asked.append(f"begin {mode}")

    def end_capture(self) -> Any:
        self.asked.append("end")
        if self.broken:
            raise Failure("the capture was broken off")
        return SimpleNamespace(launch=lambda stream: self.asked.append("launch"))


class Context:
    """`cupy.cuda.Device`: the attributes that are read, and a context."""

    attributes = {"MultiProcessorCount": 4}
    compute_capability = "90"

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Device:
    copied: list[tuple[int, ...]] = []
    built: list[tuple[Any, ...]] = []
    started: list[tuple[Any, ...]] = []

    def compile_using_nvrtc(text: str, options: tuple[str, ...], **more: Any) -> tuple[bytes, None]:
        built.append((options, more))
        return text[:20].encode(), None

    class Module:
        def load(self, code: bytes) -> None:
            self.code = code

        def get_function(self, name: str) -> Callable[..., None]:
            return lambda *arguments: started.append((name, *arguments))

    cuda = SimpleNamespace(
        Device=Context, MemoryPool=SimpleNamespace, PinnedMemoryPool=SimpleNamespace, Module=Module,
        Stream=Stream, get_current_stream=functools.partial(getattr, SimpleNamespace(now=Stream()), "now"),
        runtime=SimpleNamespace(streamCaptureModeRelaxed=2, memcpyAsync=lambda *sent: copied.append(sent)),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
        compiler=SimpleNamespace(compile_using_nvrtc=compile_using_nvrtc),
    )  # fmt: skip
    monkeypatch.setattr(devices, "usable", lambda index: SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(Device, "failures", (Failure,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    device = Device()
    vars(device).update(copied=copied, built=built, started=started)
    return device


# --- streams ----------------------------------------------------------------------------------------


def test_a_stream_that_was_given_up_is_waited_for_and_comes_first(device: Device) -> None:
    stream = device.stream()
    device.forget(stream)
    assert stream.asked == ["wait"]
    assert device.stream() is stream
    assert device.stream() is not stream


def test_a_stream_that_failed_is_not_used_again(device: Device) -> None:
    stream = Stream(broken=True)
    device.forget(stream)
    assert device.stream() is not stream


def test_the_garbage_collector_may_give_up_a_stream_at_any_point(device: Device) -> None:
    """While a kernel is compiled, say, in the same thread."""
    done = threading.Event()

    def work() -> None:
        with device._lock, devices._capturing:
            device.forget(Stream())
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(10)


def test_nothing_is_copied_where_nothing_is(device: Any) -> None:
    device.copy(0, 0, 0, 1)
    assert device.copied == []
    device.copy(8, 16, 4, 3)
    assert device.copied == [(8, 16, 4, 3, 7)]


# --- graphs -----------------------------------------------------------------------------------------


def test_a_graph_is_what_was_started_meanwhile(device: Device) -> None:
    stream = Stream()
    replay = device.capture(stream, lambda: stream.asked.append(f"run, collecting: {gc.isenabled()}"))
    replay()
    replay()
    assert stream.asked == ["begin 2", "run, collecting: False", "end", "launch", "launch"]
    assert gc.isenabled()


@pytest.mark.parametrize("broken", [False, True])
def test_the_first_error_of_a_capture_is_told(broken: bool, device: Device) -> None:
    stream = Stream(broken)

    def run() -> None:
        raise Failure("no such kernel")

    with pytest.raises(Failure, match="no such kernel"):
        device.capture(stream, run)
    assert stream.asked == ["begin 2", "end"]
    assert gc.isenabled()
    assert not devices._capturing.locked()


def test_a_capture_that_fails_at_its_end(device: Device) -> None:
    with pytest.raises(Failure, match="broken off"):
        device.capture(Stream(broken=True), lambda: None)
    assert gc.isenabled()


@pytest.mark.compiler
def test_without_a_graph_kernels_are_started_one_by_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[Any] = []

    def capture(self: HostDevice, stream: Any, run: Callable[[], None]) -> Callable[[], None]:
        tried.append(stream)
        raise Failure("operation not permitted when stream is capturing")

    monkeypatch.setattr(HostDevice, "capture", capture)
    monkeypatch.setattr(HostDevice, "failures", (Failure,))
    with cuda_is_host(monkeypatch), caplog.at_level(logging.WARNING):
        net, x = netspec.load(LENET, device="cuda"), np.ones((2, 1, 28, 28), "f4")
        expected = net(x)
        for _ in range(3):
            np.testing.assert_array_equal(net(x), expected)
    assert len(tried) == 1
    assert [r.message for r in caplog.records if "graph" in r.message] == [
        "no CUDA graph could be made (operation not permitted when stream is capturing): "
        "kernels are started one by one"
    ]


@pytest.mark.compiler
def test_a_call_that_failed_half_way_is_no_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one may be the first to start some of the kernels, which is nothing for a capture."""
    with cuda_is_host(monkeypatch) as device:
        net, x = netspec.load(LENET, device="cuda"), np.ones((2, 1, 28, 28), "f4")
        start = HostDevice._start

        def interrupted(self: HostDevice, run: Callable[[], None]) -> None:
            monkeypatch.setattr(HostDevice, "_start", start)
            raise KeyboardInterrupt

        call = net.begin({"image": x}, net.wanted())
        call.result()
        (prepared,) = net._model.programs.values()
        prepared.idle[0].session._started = False
        monkeypatch.setattr(HostDevice, "_start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            net(x)
        net(x)
        assert device.graphs == 0
        net(x)
        assert device.graphs == 1


def test_a_library_that_does_not_start_is_done_without(
    device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start() -> None:
        raise RuntimeError("CUDNN_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr("netspec.backends.cupy.cudnn.available", lambda: None)
    monkeypatch.setattr("netspec.backends.cupy.cudnn.Cudnn", start)
    with caplog.at_level(logging.WARNING):
        assert device.cudnn is None
        assert device.cudnn is None
    assert [r.message for r in caplog.records] == [
        "cuDNN does not start (CUDNN_STATUS_NOT_INITIALIZED): convolutions are computed without it"
    ]


# --- kernels ----------------------------------------------------------------------------------------


def test_a_source_is_compiled_once_as_it_was_tested(device: Any) -> None:
    for _ in range(2):
        device.function("pad", "float32")(3, 256, "arguments", 64)
    device.function("take_along", np.float32)(1, 256, "others")
    assert device.started == [
        ("pad", (3,), (256,), ("arguments",), 64),
        ("pad", (3,), (256,), ("arguments",), 64),
        ("take_along", (1,), (256,), ("others",), 0),
    ]
    assert device.built == [(COMPILED_WITH, {"cache_in_memory": True})]  # no flushing of small numbers, say


def test_machine_code_is_kept(device: Any, tmp_path: Path) -> None:
    first = compiled.machine_code(device.cupy, "text", ("-o",))
    assert compiled.machine_code(device.cupy, "text", ("-o",)) == first == b"text"
    assert len(device.built) == 1
    compiled.machine_code(device.cupy, "text", ("-other",))
    device.cupy.cuda.nvrtc.getVersion = lambda: (13, 1)
    compiled.machine_code(device.cupy, "text", ("-o",))
    assert len(device.built) == 3
    assert len(list((tmp_path / "netspec" / "cuda").iterdir())) == 3


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 64])
def test_a_damaged_file_is_compiled_anew(content: bytes, device: Any, tmp_path: Path) -> None:
    compiled.machine_code(device.cupy, "text", ())
    (file,) = (tmp_path / "netspec" / "cuda").iterdir()
    file.write_bytes(content)
    for _ in range(2):
        assert compiled.machine_code(device.cupy, "text", ()) == b"text"
    assert len(device.built) == 2


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")
def test_code_that_others_may_have_written_is_not_run(device: Any, tmp_path: Path) -> None:
    compiled.machine_code(device.cupy, "text", ())
    (tmp_path / "netspec" / "cuda").chmod(0o777)
    compiled.machine_code(device.cupy, "text", ())
    assert len(device.built) == 2


def test_a_folder_that_cannot_be_written_is_no_error(device: Any, tmp_path: Path) -> None:
    (tmp_path / "netspec").write_text("a file")
    assert compiled.machine_code(device.cupy, "text", ()) == b"text"
