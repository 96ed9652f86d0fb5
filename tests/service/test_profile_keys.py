"""Every key of a profile's `service` has a consumer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netspec.diagnostics import DeviceError
from netspec.runtime.profile import Profile, Service, read_profile
from netspec.service.batching import Batcher
from tests.service import test_batching, test_life, test_triton_client
from tests.service.running import LENET, ROOT, serving


def uses_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback unless told otherwise."""
    assert Service().host == "127.0.0.1"
    with serving(LENET, host="0.0.0.0") as service:
        assert service.host == "0.0.0.0"


def uses_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bound to that one: a second service there is refused."""
    with serving(LENET) as first:
        again = serving(LENET, port=first.port)
        with pytest.raises(DeviceError, match="port 0 takes a free one"), again:
            pass


def uses_max_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is told, in seconds."""
    told: list[float] = []
    make = Batcher.__init__

    def recorded(self: Batcher, *args: Any, **options: Any) -> None:
        told.append(options["max_delay"])
        make(self, *args, **options)

    monkeypatch.setattr(Batcher, "__init__", recorded)
    with serving(LENET, max_delay_ms=7.5):
        pass
    assert told == [0.0075]


CONSUMED: dict[str, Callable[..., Any]] = {
    "host": uses_host,
    "port": uses_port,
    "max_batch": test_batching.test_a_batch_is_not_larger_than_it_may,
    "max_delay_ms": uses_max_delay,
    "workers": test_batching.test_several_workers,
    "max_queue": test_batching.test_a_full_queue_refuses,
    "max_request_mb": test_batching.test_bodies_that_are_too_large,
    "max_json_mb": test_batching.test_bodies_that_are_too_large,
    "max_memory_mb": test_batching.test_all_bodies_together_have_a_limit,
    "timeout_seconds": test_batching.test_a_deadline_frees_its_place,
    "drain_seconds": test_life.test_what_takes_longer_than_draining_may_is_answered_with_an_error,
    "reload_seconds": test_life.test_a_changed_file_is_loaded,
    "model_control": test_triton_client.test_clients_load_and_unload_where_the_profile_lets_them,
    "token_file": test_life.test_a_token,
}
"""For each key what shows that something reads it: a test of this file, or of the one for its matter."""


def test_every_key_has_a_consumer() -> None:
    assert set(CONSUMED) == set(Service.model_fields)


@pytest.mark.parametrize("key", [key for key, shown in CONSUMED.items() if shown.__module__ == __name__])
def test_the_key_is_consumed(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    CONSUMED[key](monkeypatch)


def test_the_service_profile_shows_every_key() -> None:
    profile: Profile = read_profile(Path(ROOT / "runners" / "service.yaml"))
    assert profile.service.model_fields_set >= set(Service.model_fields) - {"token_file"}
