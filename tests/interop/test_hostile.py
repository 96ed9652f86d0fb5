"""No file makes netspec run anything, or take more time and memory than its size warrants."""

from __future__ import annotations

import contextlib
import io
import pickle as real_pickle
import pickletools
import resource
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netspec.diagnostics import WeightsError
from netspec.interop import torch_pickle
from netspec.interop.checkpoints import open_checkpoint, read_checkpoint
from tests.interop.opcodes import (
    LEGACY,
    MARK,
    POP,
    REDUCE,
    archive,
    call,
    integer,
    legacy,
    mapping,
    name,
    pickle,
    row,
    storage,
    tensor,
    text,
)

GOLDEN = Path(__file__).parent / "golden"


def load(tmp_path: Path, data: bytes, suffix: str = ".pt") -> dict[str, np.ndarray]:
    """A file with these bytes, read."""
    path = tmp_path / f"hostile{suffix}"
    path.write_bytes(data)
    return read_checkpoint(path)


def refused(tmp_path: Path, data: bytes, match: str, suffix: str = ".pt") -> None:
    """Reading these bytes must raise `WeightsError` that says so."""
    with pytest.raises(WeightsError, match=match):
        load(tmp_path, data, suffix)


# --- code -------------------------------------------------------------------------------------------


def write(path: str) -> str:
    """Python source that leaves a trace."""
    return f"open({path!r}, 'w').close()"


def partial_with_state(path: str) -> bytes:
    """A gadget that needs no foreign REDUCE for its state: BUILD runs partial.__setstate__."""
    built = name("functools", "partial") + row(name("builtins", "exec")) + b"\x81"
    state = row(name("builtins", "exec"), row(text(write(path))), mapping({}), mapping({}))
    return built + state + b"b" + row() + REDUCE


ATTACKS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "os.system": (lambda p: call(name("os", "system"), text(f"touch '{p}'")), "wants to call os.system"),
    "posix.system": (lambda p: call(name("posix", "system"), text(f"touch '{p}'")), "call posix.system"),
    "eval": (lambda p: call(name("builtins", "eval"), text(write(p))), "wants to call builtins.eval"),
    "exec": (lambda p: call(name("builtins", "exec"), text(write(p))), "wants to call builtins.exec"),
    "python 2 names": (lambda p: call(name("__builtin__", "eval"), text(write(p))), "call __builtin__.eval"),
    "subprocess": (
        lambda p: call(name("subprocess", "Popen"), b"](" + text("touch") + text(p) + b"e"),
        "call subprocess.Popen",
    ),
    "NEWOBJ": (
        lambda p: name("builtins", "bytes")
        + row(name("builtins", "map") + row(name("builtins", "exec"), row(text(write(p)))) + b"\x81") + b"\x81",
        "build an object of class builtins.map",
    ),
    "STACK_GLOBAL": (
        lambda p: text("os") + text("system") + b"\x93" + row(text(f"touch '{p}'")) + REDUCE,
        "call os.system",
    ),
    "INST": (lambda p: MARK + text(f"touch '{p}'") + b"ios\nsystem\n", "call os.system"),
    "OBJ": (lambda p: MARK + name("builtins", "exec") + text(write(p)) + b"o", "call builtins.exec"),
    "protocol 0": (lambda p: f"cos\nsystem\n(S\"touch '{p}'\"\ntR".encode(), "call os.system"),
    "a value beside it": (
        lambda p: call(name("os", "system"), text(f"touch '{p}'")) + POP + mapping({"w": tensor(storage())}),
        "call os.system",
    ),
    "a key of a dict": (
        lambda p: b"}" + call(name("os", "system"), text(f"touch '{p}'")) + text("x") + b"s",
        "call os.system",
    ),
    "__setstate__": (partial_with_state, "build an object of class functools.partial"),
    "nested": (
        lambda p: call(
            call(name("builtins", "getattr"), call(name("builtins", "__import__"), text("os")), text("system")),
            text(f"touch '{p}'"),
        ),
        "call builtins.__import__",
    ),
    "importlib": (
        lambda p: call(
            call(
                name("builtins", "getattr"),
                call(name("importlib", "import_module"), text("os")), text("system"),
            ), text(f"touch '{p}'"),
        ),
        "call importlib.import_module",
    ),
    "a pickle in a pickle": (
        lambda p: call(
            name("pickle", "loads"),
            b"B" + len(inner := pickle(call(name("os", "system"), text(f"touch '{p}'")))).to_bytes(4, "little")
            + inner,
        ),
        "call pickle.loads",
    ),
    "through a list of maps": (
        lambda p: call(
            name("builtins", "list"), call(name("builtins", "map"), name("builtins", "exec"), row(text(write(p))))
        ),
        "call builtins.map",
    ),
}  # fmt: skip
"""Pickles that leave a file behind when Python's own unpickler loads them."""

UNWANTED: dict[str, tuple[bytes, str]] = {
    "torch.load": (call(name("torch", "load"), text("x.pt")), "call torch.load"),
    "torch.hub.load": (call(name("torch.hub", "load"), text("a/b"), text("c")), "call torch.hub.load"),
    "torch.jit": (call(name("torch.jit", "load"), text("x.pt")), "call torch.jit.load"),
    "dispatch": (call(name("torch._utils", "_import_dotted_name"), text("os.system")), "_import_dotted_name"),
    "numpy.load": (call(name("numpy", "load"), text("x.npy")), "call numpy.load"),
    "runpy": (call(name("runpy", "_run_code"), text("x")), "call runpy._run_code"),
    "webbrowser": (call(name("webbrowser", "open"), text("http://x")), "call webbrowser.open"),
    "dotted name": (call(name("torch._utils", "os.system"), text("true")), r"call torch\._utils\.os\.system"),
    "only named": (name("os", "system"), "wants to use os.system"),
    "named and dropped": (name("os", "system") + POP + b"}", "wants to use os.system"),
    "an extension code": (b"\x82\x01", "uses EXT1"),
    "a text id": (b"P0\n", "uses PERSID"),
    "an out-of-band buffer": (b"\x97", "uses NEXT_BUFFER"),
    "a rebuild of os.system": (
        call(
            name("torch._tensor", "_rebuild_from_type_v2"), name("os", "system"), name("torch", "Tensor"),
            row(text("true")), b"N",
        ),
        "use os.system",
    ),
    "a factory": (call(name("collections", "defaultdict"), name("os", "system")), "use os.system"),
    "a storage of os.system": (
        row(text("storage"), name("os", "system"), text("0"), text("cpu"), integer(4)) + b"Q", "call os.system"
    ),
    "attributes of a class": (name("collections", "OrderedDict") + mapping({"__init__": b"N"}) + b"b", "damaged"),
    "escapes in a name": (call(name("os\x1b[31m", "system")), r"call os\\x1b\[31m.system"),
}  # fmt: skip


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "zip": lambda body: archive(body),
    "legacy": lambda body: legacy(body),
    "legacy, instead of the magic number": lambda body: body,
    "legacy, instead of the keys": lambda body: LEGACY + pickle(b"}") + body,
}


@pytest.mark.parametrize("wrap", WRAPPINGS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_code_runs(attack: str, wrap: str, tmp_path: Path) -> None:
    make, message = ATTACKS[attack]
    trace = tmp_path / "trace"
    refused(tmp_path, WRAPPINGS[wrap](pickle(make(str(trace)))), message)
    assert not trace.exists()


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a not in ("a value beside it", "python 2 names")])
def test_the_attacks_work_on_an_ordinary_unpickler(attack: str, tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    trace = tmp_path / "trace"
    file = tmp_path / "p"
    file.write_bytes(pickle(ATTACKS[attack][0](str(trace))))
    subprocess.run(
        [sys.executable, "-c", f"import pickle; pickle.load(open({str(file)!r}, 'rb'))"], capture_output=True
    )
    deadline = time.monotonic() + 5
    while not trace.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert trace.exists()


@pytest.mark.parametrize("case", UNWANTED)
def test_everything_else_is_refused_by_name(case: str, tmp_path: Path) -> None:
    body, message = UNWANTED[case]
    refused(tmp_path, archive(pickle(body)), message)
    refused(tmp_path, legacy(pickle(body)), message)


def test_nothing_is_imported(tmp_path: Path) -> None:
    """Naming a module does not even import it."""
    refused(tmp_path, archive(pickle(call(name("antigravity", "geohash")))), "antigravity.geohash")
    refused(tmp_path, archive(pickle(call(name("this", "s")))), "this.s")
    assert "antigravity" not in sys.modules
    assert "this" not in sys.modules


def test_the_unpickler_is_not_pythons() -> None:
    """Its source has no way to look a name up."""
    source = Path(torch_pickle.__file__).read_text()
    for word in ("importlib", "__import__", "getattr(", "setattr(", "eval(", "exec(", "import pickle\n"):
        assert word not in source


def test_every_opcode_is_known_or_refused(tmp_path: Path) -> None:
    handled = {chr(code) for code in torch_pickle._OPCODES} | {"."}
    left = {o.name for o in pickletools.opcodes if o.code not in handled}
    assert left == {"EXT1", "EXT2", "EXT4", "PERSID", "NEXT_BUFFER", "READONLY_BUFFER"}


# --- sizes ------------------------------------------------------------------------------------------

LAUGHS = b")" + b"".join(b"2\x86" for _ in range(100))
BOMBS: dict[str, tuple[bytes, str | None]] = {
    "a long of 2 GB": (b"\x8b" + (2**31 - 1).to_bytes(4, "little"), "damaged"),
    "a text of 4 GB": (b"X\xff\xff\xff\xff", "truncated"),
    "a text of 2**63 bytes": (b"\x8d" + (2**63).to_bytes(8, "little"), "truncated"),
    "bytes of 10 GB": (b"\x8e" + (10**10).to_bytes(8, "little"), "truncated"),
    "a frame of 2**64": (b"\x95" + b"\xff" * 8 + b"}", None),
    "memo number 2**32": (b"}r\xff\xff\xff\xff", None),
    "a memo that is not there": (b"j\xff\xff\xff\xff", "damaged"),
    "billion laughs": (LAUGHS, "no state dict"),
    "billion laughs as a key": (b"}" + LAUGHS + b"Ns", "no state dict"),
    "billion laughs in a set": (b"\x8f" + MARK + LAUGHS + b"\x90", "no state dict"),
    "billion laughs as a name": (LAUGHS + LAUGHS + b"\x93", "damaged"),
    "deep tuples": (b")" + b"\x85" * 1_000_000, "no state dict"),
    "deep lists": (b"]" * 1_000_000 + b"a" * 999_999, "no state dict"),
    "deep dicts": (b"}" + b"K\x01}" * 300_000 + b"s" * 300_000, "no state dict"),
    "a list in itself": (b"]q\x00h\x00a", "no state dict"),
    "a dict in itself": (b"}q\x00" + text("state_dict") + b"h\x00s", "no state dict"),
    "marks": (MARK * 1_000_000, "truncated|damaged"),
    "numbers that collide": (
        b"}" + b"".join(integer(k * (2**61 - 1)) + b"Ns" for k in range(1, 100_000)), "no state dict"
    ),
    "copies of a dict": (
        mapping({str(k): b"N" for k in range(20_000)}) + b"q\x000"
        + name("collections", "OrderedDict") + b"q\x010" + b"h\x01h\x00\x85R" * 2_500 + b"}", None
    ),
    "copies of a list": (
        b"](" + b"".join(row(text(str(k)), b"N") for k in range(20_000)) + b"eq\x000"
        + name("collections", "OrderedDict") + b"q\x010" + b"h\x01h\x00\x85R" * 2_500 + b"}", None
    ),
    "copies of a text": (
        text("x" * 1_000_000) + b"q\x00" + text("latin1") + b"q\x01" + name("_codecs", "encode") + b"q\x02"
        + b"h\x02h\x00h\x01\x86R" * 20_000, "no state dict"
    ),
    "long names": (text("x" * 900) + b"q\x00" + b"h\x00h\x00\x93" * 20_000, "damaged"),
    "many names": (b"cabc\nx\n" * 20_000, "wants to use abc.x"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_take_neither_time_nor_memory(bomb: str, tmp_path: Path) -> None:
    body, message = BOMBS[bomb]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    if message is None:
        assert load(tmp_path, archive(pickle(body))) == {}
    else:
        refused(tmp_path, archive(pickle(body)), message)
    assert time.monotonic() - started < 90  # a bomb that works takes hours
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def test_too_many_opcodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pickle, "MOST_OPCODES", 1000)
    refused(tmp_path, archive(pickle(b"N0" * 1000 + b"}")), "more than 1,000 opcodes")


# --- storages ---------------------------------------------------------------------------------------

BAD_TENSORS: dict[str, tuple[bytes, str]] = {
    "a storage of 10 GB": (tensor(storage(numel=2_500_000_000)), "claims 10,000,000,000 bytes, the file has 16"),
    "one element too many": (tensor(storage(), shape=(5,)), "reaches to element 5 of a storage that has 4"),
    "an offset behind the end": (tensor(storage(), offset=4, shape=(1,)), "reaches to element 5"),
    "a stride too long": (tensor(storage(), shape=(2, 2), strides=(3, 1)), "reaches to element 5"),
    "a negative stride": (tensor(storage(), strides=(-1,)), "badly described"),
    "a negative offset": (tensor(storage(), offset=-1, shape=(1,)), "badly described"),
    "a negative size": (tensor(storage(), shape=(-1,)), "badly described"),
    "two negative sizes": (tensor(storage(), shape=(-2, -2), strides=(1, 1)), "badly described"),
    "sizes and strides": (tensor(storage(), shape=(2, 2)), "badly described"),
    "a size of 2**70": (tensor(storage(), shape=(2**70,), strides=(0,)), "badly described"),
    "no elements of a size of 2**70": (tensor(storage(), shape=(0, 2**70), strides=(1, 1)), "badly described"),
    "a stride of 2**70": (tensor(storage(), shape=(1,), strides=(2**70,)), "badly described"),
    "one element ten billion times": (
        tensor(storage(), shape=(10**10,), strides=(0,)), "claim 40,000,000,000 bytes"
    ),
    "a negative storage": (tensor(storage(numel=-4)), "damaged"),
    "a storage that is not there": (tensor(storage(key="7")), "archive/data/7 is missing"),
    "a way out of the archive": (tensor(storage(key="../../../etc/passwd")), "is missing"),
    "a text as shape": (
        call(name("torch._utils", "_rebuild_tensor_v2"), storage(), integer(0), text("4"), row(), b"\x89", b"}"),
        "damaged",
    ),
    "a tensor as storage": (tensor(tensor(storage())), "damaged"),
    "true as a size": (
        call(name("torch._utils", "_rebuild_tensor"), storage(), integer(0), row(b"\x88"), row(integer(1))),
        "damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors_stay_inside_their_storage(case: str, tmp_path: Path) -> None:
    body, message = BAD_TENSORS[case]
    refused(tmp_path, archive(pickle(mapping({"w": body}))), message)


def test_a_storage_view_stays_inside(tmp_path: Path) -> None:
    view = row(text("view"), integer(3), integer(2))
    store = (
        row(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), integer(4), view) + b"Q"
    )
    body = pickle(mapping({"w": tensor(store, shape=(1,))}))
    refused(tmp_path, legacy(body), "lies outside the one it is a part of")


def test_right_files_made_by_hand(tmp_path: Path) -> None:
    """So that the refusals above are for what they say."""
    numbers = np.arange(4, dtype="<f4")
    body = pickle(mapping({"w": tensor(storage())}))
    for data in (
        archive(body, {"0": numbers.tobytes()}),
        archive(body, {"0": numbers.tobytes()}, folder="any name/"),
        archive(body, {"0": numbers.astype(">f4").tobytes()}, order=b"big"),
        legacy(body, {"0": numbers.tobytes()}),
    ):
        np.testing.assert_array_equal(load(tmp_path, data)["w"], numbers)
    view = row(text("view"), integer(1), integer(2))
    store = (
        row(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), integer(4), view) + b"Q"
    )
    body = pickle(mapping({"w": tensor(store, shape=(2,))}))
    np.testing.assert_array_equal(load(tmp_path, legacy(body, {"0": numbers.tobytes()}))["w"], [1, 2])
    big = pickle(mapping({"b": tensor(storage("BFloat16Storage", numel=2), shape=(2,))}))
    data = archive(big, {"0": np.array([0x3F80, 0xC000], ">u2").tobytes()}, order=b"big")
    np.testing.assert_array_equal(load(tmp_path, data)["b"], [1.0, -2.0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (legacy(pickle(mapping({"w": tensor(storage())})))[:-1], "truncated"),
        (legacy(pickle(mapping({"w": tensor(storage())})), {}), "storage 0 is missing"),
        (legacy(pickle(b"}")), "no tensor uses the storage 0"),
        (LEGACY + pickle(b"}") + pickle(b"N"), "list of storages is damaged"),
        (pickle(integer(0x1950A86A20F9469CFC6C)) + pickle(integer(7)), "protocol is not 1001"),
        (legacy(pickle(mapping({"w": tensor(storage())})))[:-24] + b"\xff" * 8, "truncated"),
        (pickle(b"}"), "torch.save did not write it"),
        (b"", "the file is empty"),
        (b"hello", "damaged"),
        (b"\x00" * 257 + b"ustar" + b"\x00" * 300, "tar format"),
    ],
)
def test_damaged_legacy_files(data: bytes, message: str, tmp_path: Path) -> None:
    refused(tmp_path, data, message)


# --- archives ---------------------------------------------------------------------------------------

GOOD = archive(pickle(mapping({"w": tensor(storage())})))


def patched(data: bytes, find: bytes, offset: int, value: bytes, last: bool = True) -> bytes:
    """The archive with some bytes after a signature replaced."""
    at = (data.rindex(find) if last else data.index(find)) + offset
    return data[:at] + value + data[at + len(value) :]


DIRECTORY, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def squeezed(size: int, claim: int | None = None) -> bytes:
    """An archive whose storage is compressed zeros, perhaps with a wrong claim of its size."""
    path = archive(pickle(mapping({"w": tensor(storage(numel=size // 4), shape=(size // 4,))})), {})
    out = io.BytesIO(path)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data/0", bytes(size))
    data = out.getvalue()
    return data if claim is None else patched(data, DIRECTORY, 24, claim.to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (patched(GOOD, DIRECTORY, 8, b"\x01\x00"), "is encrypted"),
        (patched(GOOD, DIRECTORY, 42, (10**9).to_bytes(4, "little")), "truncated or damaged|outside"),
        (patched(GOOD, DIRECTORY, 42, (0).to_bytes(4, "little")), "overlaps|truncated or damaged"),
        (patched(GOOD, DIRECTORY, 10, b"\x0c\x00"), "no header of its own"),
        (patched(patched(GOOD, DIRECTORY, 10, b"\x0e\x00"), LOCAL, 8, b"\x0e\x00"), "only deflate is read"),
        (patched(GOOD, DIRECTORY, 20, (10**9).to_bytes(4, "little")), "two sizes"),
        (patched(GOOD, DIRECTORY, 20, (10**9).to_bytes(4, "little") * 2), "beyond the data"),
        (squeezed(1_000_000, claim=4_000_000_000), "zip bomb"),
        (squeezed(1_000_000, claim=999_999), "does not unpack to the 999999 bytes"),
        (GOOD[:-10], "not a whole zip archive"),
        (GOOD[:100], "not a whole zip archive"),
        (archive(pickle(b"}"), order=b"middle"), "neither little nor big"),
    ],
    # Not from the data: archives carry the time, and the workers must agree on the names.
    ids=[f"damage{i}" for i in range(12)],
)
def test_damaged_archives(data: bytes, message: str, tmp_path: Path) -> None:
    refused(tmp_path, data, message)


def test_a_pickle_of_another_name_is_not_read(tmp_path: Path) -> None:
    attack = pickle(call(name("os", "system"), text(f"touch '{tmp_path}/trace'")))
    path = tmp_path / "x.pt"
    for entries, message in (
        (["archive/other.pkl"], "without a data.pkl"),
        (["data.pkl.bak"], "without a data.pkl"),
        (["a/data.pkl", "b/data.pkl"], "holds 2 data.pkl"),
        (["a/data.pkl", "a/constants.pkl"], "TorchScript"),
    ):
        with zipfile.ZipFile(path, "w") as file:
            for entry in entries:
                file.writestr(entry, attack)
        with pytest.raises(WeightsError, match=message):
            read_checkpoint(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickle(b"}"))
        file.writestr("a/data.pkl", pickle(b"}"))
    with pytest.raises(WeightsError, match=r"two entries a/data\.pkl"):
        read_checkpoint(path)


def test_compressed_storages_are_read(tmp_path: Path) -> None:
    """torch.save does not compress, but a zip tool may have packed the file again."""
    assert load(tmp_path, squeezed(4000))["w"].shape == (1000,)


def test_an_npz_that_claims_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2500000000,), }"
    body = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bytes(16)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w.npy", body)
    with pytest.raises(WeightsError, match="claims 10,000,000,000 bytes, the file has 16"):
        read_checkpoint(path)


def test_an_npz_with_objects(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(WeightsError, match="a pickle"):
        read_checkpoint(path)
    path.write_bytes(real_pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="not a zip archive"):
        read_checkpoint(path)


# --- damage of any kind -----------------------------------------------------------------------------

FILES = [
    "plain.pt",
    "legacy.pt",
    "kinds.pt",
    "wrapped.pt",
    "kinds_legacy.pt",
    "kinds.safetensors",
    "expected.npz",
]


@pytest.mark.parametrize("file", FILES)
def test_damage_is_a_weights_error(file: str, tmp_path: Path) -> None:
    """Changed and cut files are read, or refused; nothing else comes out."""
    data = (GOLDEN / file).read_bytes()
    rng = np.random.default_rng(zlib.crc32(file.encode()))
    path = tmp_path / file
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        if rng.random() < 0.3:
            del damaged[rng.integers(len(damaged)) :]
        path.unlink(missing_ok=True)  # the old file is still mapped
        path.write_bytes(damaged)
        with contextlib.suppress(WeightsError):
            for array in open_checkpoint(path).arrays.values():
                assert array.nbytes < 1 << 30
                array.tobytes()
