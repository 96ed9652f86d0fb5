"""`netspec schema` and `netspec layers`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from netspec.cli.app import app
from netspec.cli.reference import reference, run_layers, run_schema
from netspec.diagnostics import InputError
from netspec.layers import REGISTRY


def output(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_schema_is_printed() -> None:
    assert json.loads(output("schema"))["properties"]["layers"]
    assert json.loads(output("schema", "--kind", "runner"))["properties"]["device"]


def test_schema_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "netspec.schema.json"
    path.write_text("old")
    assert output("schema", "--output", str(path)) == ""
    assert path.read_text() == output("schema")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("place", ["", "missing/schema.json"])
def test_schema_that_cannot_be_written(place: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        run_schema("network", tmp_path / place)
    assert list(tmp_path.iterdir()) == []


def test_all_types_are_listed_by_family() -> None:
    text = output("layers")
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(REGISTRY)
    assert "\n\nConvolutions: " in text
    assert [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith("  Conv2d ")] == [
        "Slides a kernel over images of channels: (N, C_in, H, W) -> (N, C_out, H_out, W_out)"
    ]


def test_one_type_has_everything() -> None:
    text = output("layers", "Conv2d")
    assert text.startswith("Conv2d(in_channels, out_channels, kernel_size, stride=1,")
    for part in (
        "  kernel_size   integer >= 1 or list of 2 ",
        "  in_channels   integer >= 1 or null                       from input ",
        "  padding_mode  zeros | reflect | replicate | circular     zeros ",
        "inputs: input",
        "weight [33, 16, 3, 5], bias [33]",
        "  - {type: Conv2d, in_channels: 16,",
        "https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html",
    ):
        assert part in text


@pytest.mark.parametrize("kind", sorted(REGISTRY))
def test_every_type_has_a_reference(kind: str) -> None:
    text = reference(REGISTRY[kind])
    assert text.startswith(f"{kind}(")
    assert f"type: {kind}" in text


def test_unknown_type_is_suggested() -> None:
    with pytest.raises(InputError, match="there is no layer type `conv2d`; did you mean `Conv2d`"):
        run_layers("conv2d")
    with pytest.raises(InputError, match="`netspec layers` lists them"):
        run_layers("qqqqqqqq")
    assert CliRunner().invoke(app, ["layers", "conv2d"]).exit_code == 1
