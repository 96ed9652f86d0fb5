"""The command line as a user meets it: output, files, exit codes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NETWORK = """\
netspec: 1
inputs: {x: [N, 1, H, W]}
layers:
  - {name: conv, type: Conv2d, in_channels: 1, out_channels: 4, kernel_size: 3}
  - {type: ReLU}
  - {name: pool, type: AdaptiveAvgPool2d, output_size: 1}
  - {type: Flatten}
  - {name: fc, type: Linear, out_features: 3}
outputs: {scores: {from: fc, labels: [cat, dog, bird]}}
"""


def netspec(*args: Any, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "netspec", *map(str, args)],
        cwd=cwd, capture_output=True, text=True, input=stdin, timeout=120, encoding="utf-8",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.yaml").write_text(NETWORK)
    rng = np.random.RandomState(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((10, 1, 8, 8)).astype("f4"))
    return tmp_path


def only(folder: Path) -> set[str]:
    """Names of the files that lie in the folder."""
    return {p.name for p in folder.iterdir()}


def test_validate_says_what_a_right_file_holds(folder: Path) -> None:
    done = netspec("validate", "net.yaml", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "net.yaml: valid (5 layers, 55 parameters)\n",
        "",
    )


def test_validate_reports_every_file(folder: Path) -> None:
    (folder / "bad.yaml").write_text(NETWORK.replace("kernel_size", "kernal_size").replace("Linear", "Liner"))
    done = netspec("validate", "net.yaml", "bad.yaml", "gone.yaml", cwd=folder)
    assert done.returncode == 1
    assert "bad.yaml:4:65: error[unknown-key]" in done.stderr
    assert "bad.yaml:8:22: error[unknown-type]" in done.stderr
    assert "gone.yaml" in done.stderr
    assert "3 errors in 3 files" in done.stderr
    assert done.stdout == "net.yaml: valid (5 layers, 55 parameters)\n"


def test_validate_json_is_on_stdout(folder: Path) -> None:
    (folder / "bad.yaml").write_text(NETWORK.replace("Linear", "Liner"))
    done = netspec("validate", "bad.yaml", "net.yaml", "--format", "json", cwd=folder)
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert done.stderr == ""
    assert report["valid"] is False
    assert [f["valid"] for f in report["files"]] == [False, True]
    (diagnostic,) = report["files"][0]["diagnostics"]
    assert diagnostic["code"] == "unknown-type"
    assert diagnostic["path"] == "layers[4].type"
    assert diagnostic["range"] == {"start": {"line": 8, "column": 22}, "end": {"line": 8, "column": 27}}
    assert "Linear" in diagnostic["help"]


def test_validate_github_annotations(folder: Path) -> None:
    (folder / "bad.yaml").write_text(NETWORK.replace("Linear", "Liner"))
    done = netspec("validate", "bad.yaml", "--format", "github", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.startswith("::error file=bad.yaml,line=8,")


def test_validate_compares_weights(folder: Path) -> None:
    np.savez(folder / "w.npz", **{"conv.weight": np.zeros((4, 1, 3, 3)), "conv.bais": np.zeros(4),
                                  "fc.weight": np.zeros((4, 3)), "fc.bias": np.zeros(3)})  # fmt: skip
    done = netspec("validate", "net.yaml", "--weights", "w.npz", cwd=folder)
    assert done.returncode == 1
    assert "missing     conv.bias (is it conv.bais?)" in done.stderr
    assert "wrong shape fc.weight: expected [3, 4], got [4, 3]" in done.stderr


def test_shapes_table_json_markdown(folder: Path) -> None:
    table = netspec("shapes", "net.yaml", cwd=folder)
    assert "[N, 4, H - 2, W - 2]" in table.stdout
    assert "allowed sizes: H >= 3, W >= 3" in table.stdout
    report = json.loads(netspec("shapes", "net.yaml", "--format", "json", cwd=folder).stdout)
    assert report["layers"][0] == {
        "name": "conv", "type": "Conv2d", "inputs": ["x"],
        "outputs": {"out": {"shape": ["N", 4, "H - 2", "W - 2"], "dtype": "float32"}},
        "parameters": 40, "macs": "36*H*N*W - 72*H*N - 72*N*W + 144*N",
    }  # fmt: skip
    assert report["constraints"] == ["H >= 3", "W >= 3"]
    assert report["parameters"] == 55
    markdown = netspec("shapes", "net.yaml", "--input", "2,1,8,8", "--format", "markdown", cwd=folder)
    assert "| conv | Conv2d | [2, 4, 6, 6] | 40 | 2,592 | 1.15 kB |" in markdown.stdout


def test_shapes_refuses_sizes(folder: Path) -> None:
    done = netspec("shapes", "net.yaml", "--input", "2,1,2,8", cwd=folder)
    assert done.returncode == 1
    assert "(2 + 2*0 - 1*(3 - 1) - 1)//1 + 1 = 0" in done.stderr
    assert netspec("shapes", "net.yaml", "--input", "2,one,2", cwd=folder).returncode == 1
    assert netspec("shapes", "net.yaml", "--input", "y=2,1,8,8", cwd=folder).returncode == 1


def test_run_writes_the_output(folder: Path) -> None:
    done = netspec("run", "net.yaml", "--input", "x.npy", cwd=folder)
    assert done.returncode == 0
    assert "random weights" in done.stderr
    assert np.load(folder / "output.npy").shape == (10, 3)
    assert "scores[0]: " in done.stdout
    assert only(folder) == {"net.yaml", "x.npy", "output.npy"}


def test_run_is_reproducible_by_seed(folder: Path) -> None:
    outputs = []
    for seed in (1, 1, 2):
        netspec("run", "net.yaml", "--input", "x.npy", "--seed", seed, "--output", "o.npy", cwd=folder)
        outputs.append(np.load(folder / "o.npy"))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


def test_run_taps_and_batches(folder: Path) -> None:
    whole = netspec("run", "net.yaml", "--input", "x.npy", "--tap", "conv", "--output", "a.npz", cwd=folder)
    cut = netspec("run", "net.yaml", "--input", "x=x.npy", "--tap", "conv", "--output", "b.npz",
                  "--batch-size", 3, cwd=folder)  # fmt: skip
    assert (whole.returncode, cut.returncode) == (0, 0)
    a, b = np.load(folder / "a.npz"), np.load(folder / "b.npz")
    assert set(a) == set(b) == {"scores", "conv"}
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-6)


def test_run_streams_one_output_in_batches(folder: Path) -> None:
    netspec("run", "net.yaml", "--input", "x.npy", "--output", "a.npy", cwd=folder)
    done = netspec("run", "net.yaml", "--input", "x.npy", "--output", "b.npy", "--batch-size", 4, cwd=folder)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(folder / "a.npy"), np.load(folder / "b.npy"), rtol=1e-5, atol=1e-6)
    assert only(folder) == {"net.yaml", "x.npy", "a.npy", "b.npy"}


def test_run_to_stdout_keeps_the_table_on_stderr(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "netspec", "run", "net.yaml", "--input", "x.npy", "--output", "-"],
        cwd=folder, capture_output=True, timeout=120,
    )  # fmt: skip
    import io

    assert np.load(io.BytesIO(done.stdout)).shape == (10, 3)
    assert b"scores" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("int.npy", np.zeros((1, 1, 8, 8), int), "expected float32, got int64"),
        ("rank.npy", np.zeros((1, 8, 8), "f4"), "expected 4 axes [N, 1, H, W], got 3"),
        ("channels.npy", np.zeros((1, 2, 8, 8), "f4"), "axis 1 is 1 in [N, 1, H, W], got 2"),
        ("small.npy", np.zeros((1, 1, 2, 8), "f4"), "the network does not take x [1, 1, 2, 8]"),
        ("truncated.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'for", "truncated or damaged"),
        ("junk.npy", b"hello", "not a .npy file"),
        ("zero.npy", b"", "the file is empty"),
        ("pickle.npy", pickle.dumps([1, 2]), "is a pickle, which is never loaded"),
        ("words.txt", b"hello", "expected .npy, .npz, .png or .jpg"),
    ],
)
def test_run_refuses_wrong_inputs(folder: Path, name: str, content: Any, message: str) -> None:
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        np.save(folder / name, content)
    done = netspec("run", "net.yaml", "--input", name, cwd=folder)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "output.npy" not in only(folder)


def test_run_refuses_object_arrays(folder: Path) -> None:
    np.save(folder / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    done = netspec("run", "net.yaml", "--input", "o.npy", cwd=folder)
    assert done.returncode == 1
    assert "never loaded" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 1, "input x is missing"),
        (("--input", "gone.npy"), 1, "no such file"),
        (("--input", "y=x.npy"), 1, "no input `y`"),
        (("--input", "x.npy", "--tap", "cnv"), 1, "did you mean `conv`"),
        (("--input", "x.npy", "--weights", "gone.npz"), 1, "no such weights file"),
        (("--input", "x.npy", "--runner", "gone.yaml"), 1, "gone.yaml"),
        (("--input", "x.npy", "--device", "cuda"), 3, "cuda"),
        (("--input", "x.npy", "--device", "tpu"), 2, "expected cpu, cuda or cuda:N"),
        (("--input", "x.npy", "--input", "x.npy"), 1, "given twice"),
        (("--input", ""), 1, "no path is given"),
        (("--input", "x.npy", "--dtype", "float31"), 2, "float31"),
        (("--input", "x.npy", "--tap", "conv", "--output", "one.npy"), 2, ".npz"),
        (("--input", "x.npy", "--output", "no/such/folder/o.npy"), 1, "does not exist"),
        (("--input", "x.npy", "--batch-size", "2", "--mode", "train"), 1, "train mode"),
        (("--nonsense",), 2, "nonsense"),
    ],
)
def test_run_exit_codes(folder: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = netspec("run", "net.yaml", *arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert only(folder) == {"net.yaml", "x.npy"}


def test_batches_are_refused_where_they_change_the_answer(folder: Path) -> None:
    (folder / "mix.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 1, H, W]}\nlayers:\n"
        "  - {name: mean, type: mean, dim: 0, keepdim: true}\n  - {name: diff, type: sub, inputs: [x, mean]}\n"
    )
    done = netspec("run", "mix.yaml", "--input", "x.npy", "--batch-size", 2, cwd=folder)
    assert done.returncode == 1
    assert "layer mean mixes the rows" in done.stderr


def test_a_layer_of_ten_terabytes_is_refused_before_it_is_allocated(folder: Path) -> None:
    (folder / "huge.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 2000000]}\nlayers:\n  - {type: Linear, out_features: 1500000}\n"
    )
    assert netspec("validate", "huge.yaml", cwd=folder).returncode == 0
    np.save(folder / "h.npy", np.zeros((1, 2000000), "f4"))
    done = netspec("run", "huge.yaml", "--input", "h.npy", cwd=folder)
    assert done.returncode == 3
    assert "12 TB" in done.stderr


def test_huge_activations_are_refused_before_they_are_allocated(folder: Path) -> None:
    (folder / "wide.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 8]}\nlayers:\n"
        "  - {type: reshape, shape: [N, 8, 1, 1]}\n  - {type: Upsample, size: [1000000, 1000000]}\n"
    )
    np.save(folder / "w.npy", np.zeros((1, 8), "f4"))
    done = netspec("run", "wide.yaml", "--input", "w.npy", cwd=folder)
    assert done.returncode == 3, done.stderr
    assert "TB" in done.stderr


def test_folders_and_globs_are_stacked_in_natural_order(folder: Path) -> None:
    (folder / "many").mkdir()
    for i in (10, 2, 1):
        np.save(folder / "many" / f"x{i}.npy", np.full((1, 1, 8, 8), i, "f4"))
    (folder / "id.yaml").write_text("netspec: 1\ninputs: {x: [N, 1, 8, 8]}\nlayers: [{type: Identity}]\n")
    for source in ("many", "many/*.npy"):
        done = netspec("run", "id.yaml", "--input", source, "--output", "o.npy", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert np.load(folder / "o.npy")[:, 0, 0, 0].tolist() == [1, 2, 10]


def test_pictures(folder: Path) -> None:
    from PIL import Image

    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(folder / "p.png")
    (folder / "id.yaml").write_text("netspec: 1\ninputs: {x: [N, 3, H, W]}\nlayers: [{type: Identity}]\n")
    done = netspec("run", "id.yaml", "--input", "p.png", "--output", "o.npy", cwd=folder)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(folder / "o.npy")[0], pixels.transpose(2, 0, 1) / 255, rtol=1e-6)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    assert netspec("run", "id.yaml", "--input", "broken.png", cwd=folder).returncode == 1


def test_only_one_output_needs_only_its_inputs(folder: Path) -> None:
    (folder / "two.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 1, 8, 8], y: [N, 1, 8, 8]}\nlayers:\n"
        "  - {name: a, type: Sigmoid, inputs: x}\n  - {name: b, type: MSELoss, inputs: [a, y]}\n"
        "outputs: [a, b]\n"
    )
    assert netspec("run", "two.yaml", "--input", "x=x.npy", cwd=folder).returncode == 1
    done = netspec("run", "two.yaml", "--input", "x=x.npy", "--only", "a", "--output", "a.npy", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert np.load(folder / "a.npy").shape == (10, 1, 8, 8)


def test_an_archive_brings_several_inputs_by_name(folder: Path) -> None:
    (folder / "two.yaml").write_text(
        "netspec: 1\ninputs: {x: [N, 3], y: [N, 3], unused: [N]}\nlayers:\n  - {name: s, type: add, inputs: [x, y]}\n"
    )
    np.savez(folder / "xy.npz", x=np.ones((2, 3), "f4"), y=np.ones((2, 3), "f4"))
    done = netspec("run", "two.yaml", "--input", "xy.npz", "--output", "s.npy", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert np.load(folder / "s.npy").tolist() == [[2, 2, 2], [2, 2, 2]]


def test_version_and_help(folder: Path) -> None:
    assert netspec("--version", cwd=folder).stdout.startswith("netspec ")
    for command in ("validate", "shapes", "run", "schema", "layers"):
        assert command in netspec("--help", cwd=folder).stdout
        assert netspec(command, "--help", cwd=folder).returncode == 0
