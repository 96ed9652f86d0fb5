"""Parquet with tensor columns, in and out. Needs pyarrow (extra `parquet`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.engine.job import plan_job
from netspec.engine.shards import compute_shard, look_at_shard
from netspec.engine.sources import Source, list_files, open_source
from netspec.runtime.network import Network

pytestmark = pytest.mark.external

NETWORK: dict[str, Any] = {
    "netspec": 1,
    "inputs": {"x": ["N", 2, 3], "y": ["N", 3]},
    "layers": [
        {"name": "a", "type": "mean", "inputs": "x", "dim": 1},
        {"name": "s", "type": "add", "inputs": ["a", "y"]},
    ],
    "outputs": {"sum": "s"},
}


@pytest.fixture(scope="module")
def pa() -> Any:
    pytest.importorskip("pyarrow.parquet")
    return pytest.importorskip("pyarrow")


@pytest.fixture
def net() -> Network:
    return netspec.load(NETWORK)


def tensor(pa: Any, array: np.ndarray, kind: str) -> tuple[Any, Any]:
    """A field's type with metadata, and the column, as somebody's Parquet has it."""
    flat = pa.array(array.reshape(-1))
    size = int(np.prod(array.shape[1:]))
    if kind == "fixed_shape_tensor":
        value = pa.fixed_shape_tensor(flat.type, list(array.shape[1:]))
        return pa.field("t", value), pa.ExtensionArray.from_storage(
            value, pa.FixedSizeListArray.from_arrays(flat, size)
        )
    if kind == "fixed_size_list":
        column = pa.FixedSizeListArray.from_arrays(flat, size)
        return pa.field("t", column.type), column
    lists = pa.LargeListArray if kind.endswith("v2") else pa.ListArray
    offsets = pa.array(np.arange(len(array) + 1) * size, pa.int64() if kind.endswith("v2") else pa.int32())
    column = lists.from_arrays(offsets, flat)
    metadata = None
    if kind.startswith("ray"):  # as Ray writes it, read where Ray's types are not registered
        shape = json.dumps(list(array.shape[1:]))
        metadata = {"ARROW:extension:name": kind, "ARROW:extension:metadata": shape}
    return pa.field("t", column.type, metadata=metadata), column


def write(pa: Any, path: Path, columns: dict[str, tuple[Any, Any]], group: int = 1000) -> None:
    fields = [field.with_name(name) for name, (field, _) in columns.items()]
    table = pa.Table.from_arrays([column for _, column in columns.values()], schema=pa.schema(fields))
    pa.parquet.write_table(table, path, row_group_size=group)


def plain(pa: Any, values: Any) -> tuple[Any, Any]:
    column = pa.array(values)
    return pa.field("t", column.type), column


def sources_of(net: Network, text: Path) -> dict[str, Source]:
    names = list(net.spec.inputs)
    return {
        n: open_source(list_files(str(text)), n, spec, names, len(names) == 1)
        for n, spec in net.spec.inputs.items()
    }


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "u1", "?"])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("fixed_shape_tensor", (2, 3)),
        ("ray.data.arrow_tensor", (2, 3)),
        ("ray.data.arrow_tensor_v2", (3, 2, 2)),
        ("fixed_size_list", (4,)),
        ("list", (4,)),
    ],
)
def test_tensor_columns_are_read_in_any_slice(
    pa: Any, tmp_path: Path, kind: str, shape: tuple[int, ...], dtype: str
) -> None:
    array = (np.random.RandomState(0).random_sample((700, *shape)) * 100).astype(dtype)
    write(pa, tmp_path / "a.parquet", {"x": tensor(pa, array[:400], kind)}, group=150)
    write(pa, tmp_path / "b.parquet", {"x": tensor(pa, array[400:], kind)})
    declared = {"shape": ["N", *shape], "dtype": str(np.dtype(dtype)) if dtype in ("i8", "?") else "float32"}
    net = netspec.load({"netspec": 1, "inputs": {"x": declared}, "layers": [{"type": "Identity"}]})
    source = sources_of(net, tmp_path)["x"]
    assert (source.shape, source.dtype) == (array.shape, array.dtype)
    for start, stop in ((0, 700), (0, 1), (149, 151), (140, 310), (255, 257), (390, 410), (650, 700), (9, 9)):
        np.testing.assert_array_equal(source[start:stop], array[start:stop])


def test_inputs_by_column_and_the_rest_kept(pa: Any, net: Network, tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    x, y = rng.standard_normal((50, 2, 3)).astype("f4"), rng.standard_normal((50, 3)).astype("f4")
    columns = {
        "id": plain(pa, [f"row {i}" for i in range(50)]),
        "x": tensor(pa, x, "fixed_shape_tensor"),
        "label": plain(pa, list(range(50))),
        "y": tensor(pa, y, "fixed_size_list"),
    }
    write(pa, tmp_path / "in.parquet", columns, group=20)
    (tmp_path / "out").mkdir()
    job = plan_job(net, net.wanted(), sources_of(net, tmp_path / "in.parquet"), tmp_path / "out", None, 8)
    assert job.format == "parquet"
    for shard in job.shards:
        done = compute_shard(net, job, shard)
        assert done.error is None
        assert look_at_shard(job, shard) == done
    table = pa.parquet.read_table(tmp_path / "out")
    assert table.column_names == ["id", "label", "sum"]
    assert table.column("id").to_pylist() == [f"row {i}" for i in range(50)]
    assert table.column("label").to_pylist() == list(range(50))
    assert str(table.schema.field("sum").type.extension_name) == "arrow.fixed_shape_tensor"
    found = table.column("sum").combine_chunks().to_numpy_ndarray()
    np.testing.assert_allclose(found, x.mean(1) + y, rtol=1e-6)


def test_rows_of_other_files_keep_their_file_and_row(pa: Any, tmp_path: Path) -> None:
    net = netspec.load({"netspec": 1, "inputs": {"x": ["N", 2]}, "layers": [{"type": "sum", "dim": 1}]})
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for i in range(2):
        np.save(tmp_path / "in" / f"{i}.npy", np.full((3, 2), i, "f4"))
    job = plan_job(net, net.wanted(), sources_of(net, tmp_path / "in"), tmp_path / "out", "parquet", 2)
    for shard in job.shards:
        compute_shard(net, job, shard)
    table = pa.parquet.read_table(tmp_path / "out").to_pydict()
    assert [Path(p).name for p in table["file"]] == ["0.npy"] * 3 + ["1.npy"] * 3
    assert table["row"] == [0, 1, 2] * 2
    assert table["0"] == [0, 0, 0, 2, 2, 2]  # one number a row is a plain column


def test_what_cannot_be_read_is_named(pa: Any, tmp_path: Path) -> None:
    net = netspec.load({"netspec": 1, "inputs": {"x": ["N", 3]}, "layers": [{"type": "Identity"}]})
    pickled = tensor(pa, np.zeros((2, 3), "f4"), "ray.data.arrow_tensor")
    bad = pickled[0].with_metadata({"ARROW:extension:name": "ray.data.arrow_tensor",
                                    "ARROW:extension:metadata": b"\x80\x05K\x03\x85."})  # fmt: skip
    wrong = {"ARROW:extension:name": "ray.data.arrow_tensor", "ARROW:extension:metadata": b"[4]"}
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "texts": ({"x": plain(pa, ["a", "b"])}, "column x holds no numbers"),
        "other name": ({"X": plain(pa, [1.0]), "z": plain(pa, ["a"])}, "has no column x; did you mean `X`"),
        "gaps": ({"x": plain(pa, [[1.0, 2.0, 3.0], None])}, "column x has empty cells"),
        "gaps inside": ({"x": plain(pa, [[1.0, None, 3.0]])}, "column x has empty cells"),
        "uneven": ({"x": plain(pa, [[1.0, 2.0, 3.0], [1.0]])}, "column x has lists of 1 to 3 numbers"),
        "pickle": ({"x": (bad, pickled[1])}, "keeps its shape as a pickle"),
        "lie": ({"x": (pickled[0].with_metadata(wrong), pickled[1])}, r"says its shape is \[4\], its rows have 3"),
    }  # fmt: skip
    for name, (columns, message) in cases.items():
        write(pa, tmp_path / f"{name}.parquet", columns)
        with pytest.raises(netspec.InputError, match=message) as error:
            sources_of(net, tmp_path / f"{name}.parquet")["x"][0:2]
        assert f"{name}.parquet" in str(error.value)
    data = (tmp_path / "gaps.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(netspec.InputError, match=r"cut.parquet: not a Parquet file that can be read"):
        sources_of(net, tmp_path / "cut.parquet")


def test_what_parquet_cannot_hold_is_told_before_the_work(pa: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 2), "c8"))
    declared = {"shape": ["N", 2], "dtype": "complex64"}
    net = netspec.load({"netspec": 1, "inputs": {"x": declared}, "layers": [{"type": "Identity"}]})
    with pytest.raises(netspec.InputError, match="complex64, which Parquet cannot hold"):
        plan_job(net, net.wanted(), sources_of(net, tmp_path / "x.npy"), tmp_path, "parquet")
    real = netspec.load({"netspec": 1, "inputs": {"x": ["N", 2]}, "layers": [{"type": "Identity"}],
                         "outputs": {"label": "0"}})  # fmt: skip
    columns = {"x": tensor(pa, np.zeros((4, 2), "f4"), "fixed_size_list"), "label": plain(pa, [1, 2, 3, 4])}
    write(pa, tmp_path / "x.parquet", columns)
    with pytest.raises(netspec.InputError, match="column label would be kept, but an output has the same"):
        plan_job(real, real.wanted(), sources_of(real, tmp_path / "x.parquet"), tmp_path)
