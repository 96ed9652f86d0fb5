"""The schema in the real yaml-language-server: what an editor marks, offers and shows.

Needs Node: NETSPEC_NODE_MODULES names the folder that the npm package is installed in; or it is on PATH.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netspec.layers import REGISTRY
from netspec.network.schema import network_schema
from netspec.network.schema_parts import render
from tests.editor.yaml_server import YamlServer

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("yaml-language-server")]

CONFIGS = Path(__file__).parents[2] / "configs"
FIRST = 4
"""Line (from 0) of the first layer in a text made by `network`."""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("schema") / "netspec.schema.json"
    path.write_text(render(network_schema()))
    return f"# yaml-language-server: $schema={path.as_uri()}\nnetspec: 1\n"


@pytest.fixture(scope="module")
def server() -> Iterator[YamlServer]:
    with YamlServer() as running:
        yield running


def network(head: str, *layers: str) -> str:
    return head + "inputs: {x: [N, 3, H, W]}\nlayers:\n" + "".join(f"  - {layer}\n" for layer in layers)


def place(diagnostic: dict[str, Any], text: str) -> str:
    """The text that a diagnostic underlines."""
    start, end = diagnostic["range"]["start"], diagnostic["range"]["end"]
    assert start["line"] == end["line"] == FIRST
    return text.splitlines()[start["line"]][start["character"] : end["character"]]


@pytest.mark.parametrize(
    ("layer", "marked", "message"),
    [
        ("{type: Conv2d, out_channels: 8, kernel_size: 3, strid: 2}", "strid", "Property strid is not"),
        ("{type: Conv2d, out_channels: 8, kernel_size: three}", "three", "Expected one of integer, array"),
        ("{type: Conv2d, out_channels: 8, kernel_size: [3, 3, 3]}", "[3, 3, 3]", "Expected 2 or fewer"),
        ("{type: Conv3d, out_channels: 8, kernel_size: [3, 3]}", "[3, 3]", "Expected 3 or more"),
        ("{type: Conv2d, out_channels: 0, kernel_size: 3}", "0", "below the minimum of 1"),
        ("{type: Conv2d, out_channels: 8}", "{", 'Missing property "kernel_size"'),
        ("{type: Conv2D, out_channels: 8}", "Conv2D", "There is no layer type of this name"),
        ("{type: Dropout, p: 2}", "2", "above the maximum of 1"),
        ("{type: Conv2d, out_channels: $k, kernel_size: 3}", "$k", 'Expected "integer"'),
        ("{use: a, inplace: true}", "inplace", "Property inplace is not allowed."),
    ],
)
def test_one_mistake_is_marked_once(
    server: YamlServer, head: str, layer: str, marked: str, message: str
) -> None:
    text = network(head, layer)
    [diagnostic] = server.diagnostics(text)
    assert place(diagnostic, text) == marked
    assert message in diagnostic["message"]


def test_valid_texts_have_no_marks(server: YamlServer, head: str) -> None:
    for path in sorted(CONFIGS.rglob("*.yaml")):
        text = path.read_text()
        lines = [line for line in text.splitlines() if not line.startswith("# yaml-language-server")]
        schema = head.splitlines()[0]
        assert server.diagnostics("\n".join([schema, *lines]) + "\n") == [], path


def test_arguments_in_blocks(server: YamlServer, head: str) -> None:
    block = network(head, "{block: B, with: {k: 3}}") + "blocks:\n  B:\n    layers:\n      - %s\n"
    layer = "{type: Conv2d, out_channels: %s, kernel_size: [3, $k], bias: $b, padding_mode: $m}"
    assert server.diagnostics(block % (layer % "$k * 4")) == []
    [diagnostic] = server.diagnostics(block % (layer % "k"))
    assert "argument" in diagnostic["message"]


def test_types_are_offered_with_their_documentation(server: YamlServer, head: str) -> None:
    for written in ("type: |", "type: Conv|", "{type: |}", "type: ReLU|"):
        offers = {item["label"]: item for item in server.complete(network(head, written))}
        assert set(offers) == set(REGISTRY), written
        assert "Slides a kernel over images" in offers["Conv2d"]["documentation"]["value"]


def test_only_a_types_own_parameters_are_offered(server: YamlServer, head: str) -> None:
    offers = {item["label"]: item for item in server.complete(network(head, "type: MaxPool2d\n    |"))}
    own = {*REGISTRY["MaxPool2d"].own_parameters(), "name", "inputs", "repeat"}
    assert set(offers) - {"MaxPool2d"} == own  # the type itself stands for all that is required
    assert "Distance between the elements" in offers["dilation"]["documentation"]["value"]
    assert offers["ceil_mode"]["insertText"].startswith("ceil_mode: ")


def test_choices_and_keys_are_offered(server: YamlServer, head: str) -> None:
    modes = server.complete(network(head, "{type: Conv2d, padding_mode: |}"))
    assert [item["label"] for item in modes] == ["zeros", "reflect", "replicate", "circular"]
    kinds = {item["label"] for item in server.complete(network(head, "|"))}
    assert {"type", "use", "layers", "block"} <= kinds
    assert "kernel_size" not in kinds


def test_hover_shows_the_documentation(server: YamlServer, head: str) -> None:
    over_type = server.hover(network(head, "{type: Con|v2d, out_channels: 8, kernel_size: 3}"))
    assert "Slides a kernel over images of channels: (N, C_in, H, W)" in over_type
    assert "torch.nn.Conv2d.html" in over_type
    assert "MaxPool2d" not in over_type
    over_parameter = server.hover(network(head, "{type: Conv2d, out_channels: 8, kernel|_size: 3}"))
    assert "Size of the kernel." in over_parameter


def test_a_thousand_layers(server: YamlServer, head: str) -> None:
    layer = "{name: conv%d, type: Conv2d, in_channels: 8, out_channels: 8, kernel_size: 3, padding: 1}"
    text = network(head, *(layer % i for i in range(1000)))
    started = time.perf_counter()
    assert server.diagnostics(text) == []
    first = time.perf_counter() - started
    started = time.perf_counter()
    [diagnostic] = server.diagnostics(text.replace("padding: 1}", "padding: x}", 1))
    assert "padding" not in diagnostic["message"]
    print(f"1,000 layers: {first:.2f} s, then {time.perf_counter() - started:.2f} s")
