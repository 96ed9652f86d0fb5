"""gzip and deflate: read with a limit, written where the client takes them."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.service.codings import choose, compress, decompress
from netspec.service.errors import Refused
from tests.service.running import Running, request_of


def raw(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@given(st.binary(max_size=1000))
def test_there_and_back(data: bytes) -> None:
    assert decompress(data, "identity", 1000) == data
    for coding in ("gzip", "deflate"):
        assert decompress(compress(data, coding), coding, 1000) == data
    assert decompress(gzip.compress(data) + gzip.compress(data), "gzip", 2000) == data + data


def test_deflate_without_its_head() -> None:
    assert decompress(raw(b"abc" * 100), "deflate", 1000) == b"abc" * 100


@pytest.mark.parametrize(
    ("data", "coding", "status", "text"),
    [
        (gzip.compress(b"a" * 1001, mtime=0), "gzip", 413, "larger than 1000 bytes"),
        (gzip.compress(b"a" * 600, mtime=0) * 2, "gzip", 413, "larger than 1000 bytes"),
        (zlib.compress(b"a" * 50_000_000), "deflate", 413, "larger than 1000 bytes"),
        (gzip.compress(b"abc", mtime=0)[:-1], "gzip", 400, "breaks off"),
        (b"", "gzip", 400, "breaks off"),
        (b"abc", "gzip", 400, "not valid gzip"),
        (b"\xff\xff", "deflate", 400, "not valid deflate"),
        (zlib.compress(b"abc") + b"more", "deflate", 400, "goes on"),
        (b"abc", "br", 415, "expected gzip, deflate or identity, got 'br'"),
    ],
)
def test_refused(data: bytes, coding: str, status: int, text: str) -> None:
    with pytest.raises(Refused) as error:
        decompress(data, coding, 1000)
    assert (error.value.status, text in error.value.message) == (status, True)


@given(st.binary(max_size=200), st.sampled_from(("gzip", "deflate")))
def test_any_bytes(data: bytes, coding: str) -> None:
    with contextlib.suppress(Refused):
        assert len(decompress(data, coding, 100)) <= 100


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate, gzip", "deflate"),
        ("br, GZIP;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.0", None),
        ("br", None),
        ("", None),
        ("*", None),
    ],
)
def test_choice(accepted: str, coding: str | None) -> None:
    assert choose(accepted) == coding


def test_a_large_compressed_body(service: Running) -> None:
    """Larger than what is decompressed on the event loop."""
    array = np.random.RandomState(0).random_sample((40_000, 1, 3)).astype("f4")
    body, size = request_of(
        {"number": array}, outputs=[{"name": "twice", "parameters": {"binary_data": True}}]
    )
    headers = {
        "Inference-Header-Content-Length": str(size),
        "Content-Encoding": "gzip",
        "Accept-Encoding": "deflate",
    }
    answer = service.ask("POST", "/v2/models/kinds/infer", gzip.compress(body, 1), headers)
    assert (answer.status, answer.headers["content-encoding"]) == (200, "deflate")
    assert zlib.decompress(answer.body).endswith((array * 2).tobytes())
    assert service.state.budget.held == 0


def test_a_small_answer_is_not_compressed(service: Running) -> None:
    tensor = {"name": "number", "shape": [1, 1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "twice"}]}).encode()
    answer = service.ask("POST", "/v2/models/kinds/infer", body, {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.json["outputs"][0]["data"] == [2.0, 4.0, 6.0]
