"""Every case and every rejection of the layers' tables on the CUDA backend, its kernels compiled for this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import netspec
from tests.backends.cupy.host import HostDevice, cuda_is_host
from tests.layers.oracle import Case, Rejection, make_inputs
from tests.layers.test_values import CASES, REJECTIONS, close, expected_of, load_and_run, load_case

pytestmark = [pytest.mark.compiler, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostDevice]:
    """A network without a device of its own runs on CUDA, which is this machine."""
    from netspec.runtime.profile import Profile

    monkeypatch.setattr(Profile.model_fields["device"], "default", "cuda")
    Profile.model_rebuild(force=True)
    with cuda_is_host(monkeypatch) as device:
        yield device
    monkeypatch.undo()
    Profile.model_rebuild(force=True)


@pytest.mark.parametrize(("family", "case"), CASES, ids=[c.id for _, c in CASES])
def test_values_are_torchs(family: str, case: Case, device: HostDevice) -> None:
    net = load_case(case)
    assert net.device == "cuda"
    given = {f"x{i}": a for i, a in enumerate(make_inputs(case))}
    expected = expected_of(family, case)
    taps = {
        port: "layer" if port == "out" else f"layer.{port}"
        for port in expected
        if not port.startswith("state:")
    }
    found = net.run(given, taps=taps.values())
    for port, reference in taps.items():
        close(found[reference], expected[port], case.tolerance)
    for key, value in expected.items():
        if key.startswith("state:"):
            close(net.state_dict()[f"layer.{key.removeprefix('state:')}"], value, case.tolerance)
    if case.mode == "eval":  # the second call captures a graph, and starts it
        again = net.run(given, taps=taps.values())
        for reference in taps.values():
            close(again[reference], found[reference], 0)
    device.check_fences()


@pytest.mark.parametrize(("family", "case"), REJECTIONS, ids=[c.id for _, c in REJECTIONS])
def test_what_torch_refuses_is_refused(family: str, case: Rejection, device: HostDevice) -> None:
    with pytest.raises(netspec.NetspecError):
        load_and_run(case)
    device.check_fences()
