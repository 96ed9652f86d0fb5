"""References through groups and blocks, scopes, and second uses."""

# ruff: noqa: E501 (networks and golden text)

from __future__ import annotations

import textwrap

import pytest

from netspec.analysis import Analysis, analyse_text
from netspec.graph.infer import states_of

HEAD = "netspec: 1\ninputs: {x: [N, 4, 8, 8]}\n"
CONV = "type: Conv2d, out_channels: 4, kernel_size: 1"


def valid(text: str, head: str = HEAD) -> Analysis:
    analysis = analyse_text(head + textwrap.dedent(text))
    assert [d.message for d in analysis.diagnostics] == []
    return analysis


def edges(analysis: Analysis) -> dict[str, list[str]]:
    assert analysis.graph is not None
    graph = analysis.graph
    return {node.path: [graph.label(ref) for ref in node.inputs] for node in graph.nodes}


def wrong(text: str, head: str = HEAD) -> list[str]:
    """`line:column message | help` of everything that is wrong."""
    result = []
    for d in analyse_text(head + textwrap.dedent(text)).diagnostics:
        line, column = d.span.position if d.span is not None else (0, 0)
        result.append(f"{line}:{column} {d.message}" + (f" | {d.help}" if d.help else ""))
    return result


def keys(analysis: Analysis) -> list[str]:
    assert analysis.shaped is not None
    return list(states_of(analysis.shaped))


# --- groups -----------------------------------------------------------------------------------------


def test_children_then_ports() -> None:
    found = edges(
        valid(
            """\
            layers:
              - name: g
                layers:
                  - {name: p, type: MaxPool2d, kernel_size: 2, return_indices: true}
                  - {type: ReLU}
                  - {name: q, type: MaxPool2d, kernel_size: 2, return_indices: true}
              - {type: ReLU, inputs: g}
              - {type: ReLU, inputs: g.p}
              - {type: MaxUnpool2d, kernel_size: 2, inputs: [g.p, g.p.indices]}
              - {type: ReLU, inputs: g.1}
              - {type: MaxUnpool2d, kernel_size: 2, inputs: [g, g.indices]}
            """
        )
    )
    assert [found[str(i)] for i in range(1, 6)] == [
        ["g.q"], ["g.p"], ["g.p", "g.p.indices"], ["g.1"], ["g.q", "g.q.indices"],
    ]  # fmt: skip


def test_a_nested_list_takes_its_groups_input() -> None:
    found = edges(
        valid(
            """\
            layers:
              - {name: a, type: ReLU}
              - {name: b, type: ReLU}
              - {name: g, inputs: a, layers: [{type: ReLU}, {type: add, inputs: [0, x]}]}
              - {layers: [{layers: [{type: ReLU}]}]}
            """
        )
    )
    assert found["g.0"] == ["a"]
    assert found["g.1"] == ["g.0", "x"]  # the network's input is visible in nested lists
    assert found["3.0.0"] == ["g.1"]


def test_the_list_around_is_not_visible() -> None:
    assert wrong(
        """\
        blocks:
          B: {inputs: [y], layers: [{type: ReLU}, {layers: [{type: ReLU, inputs: y}, {type: ReLU, inputs: x}]}]}
        layers:
          - {name: a, type: ReLU}
          - {layers: [{type: ReLU}, {type: ReLU, inputs: a}]}
          - {block: B}
        """
    ) == [
        "4:99 there is no input or earlier layer `x` | known here: y, 0",
        "7:50 there is no input or earlier layer `a` | known here: x, 0",
    ]


def test_a_child_may_be_called_like_an_input() -> None:
    found = edges(valid("layers: [{layers: [{name: x, type: ReLU}, {type: Tanh, inputs: x}]}]\n"))
    assert found["0.1"] == ["0.x"]
    assert wrong("layers: [{name: x, type: ReLU}]\n") == ["3:17 the name `x` is taken by a network input"]


def test_several_inputs_and_a_nested_list() -> None:
    head = "netspec: 1\ninputs: {a: [N, 4], b: [N, 4]}\n"
    found = edges(valid("layers: [{layers: [{type: ReLU, inputs: b}, {type: add, inputs: [0, a]}]}]\n", head))
    assert found["0.1"] == ["0.0", "a"]
    assert wrong("layers: [{layers: [{type: ReLU}]}]\n", head) == [
        "3:27 the first layer must say which input it takes: there are a, b | for example inputs: a"
    ]
    assert wrong("layers: [{inputs: [a, b], layers: [{type: ReLU}]}]\n", head) == [
        "3:19 a nested list takes one input, got 2 | give each of its layers its own `inputs`"
    ]


def test_outputs_of_blocks() -> None:
    found = edges(
        valid(
            """\
            blocks:
              Two:
                inputs: [y]
                layers:
                  - {name: p, type: MaxPool2d, kernel_size: 2, return_indices: true}
                  - {name: r, type: ReLU, inputs: y}
                outputs: [r, p.indices, y, p]
            layers:
              - {name: t, block: Two}
              - {type: ReLU}
              - {type: ReLU, inputs: t.0}
              - {type: ReLU, inputs: t.2}
              - {type: ReLU, inputs: t.y}
              - {type: MaxUnpool2d, kernel_size: 2, inputs: [t.3, t.1]}
              - {type: MaxUnpool2d, kernel_size: 2, inputs: [t.p, t.p.indices]}
              - {name: again, layers: [{block: Two}]}
              - {type: ReLU, inputs: again.2}
              - {type: ReLU, inputs: again.0.r}
            outputs: [t.2, again]
            """
        )
    )
    assert [found[str(i)] for i in (1, 2, 3, 4, 5, 6, 8, 9)] == [
        ["t.r"], ["t.r"], ["x"], ["x"], ["t.p", "t.p.indices"], ["t.p", "t.p.indices"], ["6"], ["again.0.r"],
    ]  # fmt: skip


def test_a_child_wins_over_a_port() -> None:
    found = edges(
        valid(
            """\
            blocks: {B: {layers: [{type: ReLU}, {type: Tanh}], outputs: [1, 0]}}
            layers: [{name: b, block: B}, {type: ReLU, inputs: b.0}, {type: ReLU, inputs: b}]
            """
        )
    )
    assert (found["1"], found["2"]) == (["b.0"], ["b.1"])


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("g.2", "`g` (the group) has no output `2` | it has r, 1"),
        ("b.ss", "`b` (block B) has no output `ss` | it has s"),
        ("g.r.5", "`g.r` (ReLU) has no output `5` | it has out"),
        ("g.r.out.more", "`g.r` (ReLU) has no output `out.more` | it has out"),
        ("b.1", "`b` (block B) has no output `1` | it has s"),
        (
            "b.s.indices",
            "`b.s` (ReLU) has no output `indices` | pooling gives indices with return_indices: true",
        ),
        ("x.1", "input `x` has no output `1`"),
        ("h", "there is no input or earlier layer `h` | known here: x, g, b"),
    ],
)
def test_references_that_lead_nowhere(reference: str, message: str) -> None:
    found = wrong(
        f"""\
        blocks: {{B: {{layers: [{{name: s, type: ReLU}}]}}}}
        layers: [{{name: g, layers: [{{name: r, type: ReLU}}, {{type: ReLU}}]}}, {{name: b, block: B}}, {{type: ReLU, inputs: {reference}}}]
        """
    )
    assert [line.split(" ", 1)[1] for line in found] == [message]


# --- second uses ------------------------------------------------------------------------------------


def test_shared_modules_are_counted_once() -> None:
    analysis = valid(
        f"""\
        blocks: {{B: {{layers: [{{name: c, {CONV}}}, {{use: c}}]}}}}
        layers:
          - {{name: a, {CONV}}}
          - {{use: a}}
          - {{name: g, layers: [{{name: c, {CONV}}}, {{name: twice, use: c}}, {{type: ReLU}}]}}
          - {{name: again, use: g}}
          - {{use: g.c}}
          - {{use: again.c}}
          - {{use: g.twice}}
          - {{use: again.twice, inputs: x}}
          - {{name: b, block: B}}
          - {{name: b2, use: b, inputs: a}}
          - {{use: b2.1}}
        """
    )
    assert keys(analysis) == [
        "a.weight", "a.bias", "g.c.weight", "g.c.bias", "b.c.weight", "b.c.bias",
    ]  # fmt: skip
    assert analysis.graph is not None
    nodes = {node.path: node for node in analysis.graph.nodes}
    assert {path: node.state_path for path, node in nodes.items() if path != node.state_path} == {
        "1": "a", "g.twice": "g.c", "again.c": "g.c", "again.twice": "g.c", "again.2": "g.2", "4": "g.c",
        "5": "g.c", "6": "g.c", "7": "g.c", "b.1": "b.c", "b2.c": "b.c", "b2.1": "b.c", "10": "b.c",
    }  # fmt: skip
    found = edges(analysis)
    assert found["again.c"] == ["g.2"]
    assert found["again.2"] == ["again.twice"]
    assert found["7"] == ["x"]
    assert found["b2.c"] == ["a"]
    assert found["10"] == ["b2.1"]


def test_a_group_of_a_block_is_used_with_the_blocks_inputs() -> None:
    """A nested list reads its block's inputs by name, also when it is called from outside."""
    analysis = valid(
        """\
        blocks: {B: {inputs: [a, skip], layers: [{name: g, inputs: a, layers: [{type: ReLU}, {type: add, inputs: [0, skip]}]}]}}
        layers:
          - {name: r, type: ReLU}
          - {name: b, block: B, inputs: [r, x]}
          - {name: u, use: b.g}
        """
    )
    assert edges(analysis)["u.0"] == ["b.g.1"]
    assert edges(analysis)["u.1"] == ["u.0", "x"]


def test_a_used_layer_keeps_its_output_size() -> None:
    analysis = valid(
        """\
        layers:
          - name: g
            layers:
              - {name: small, type: Conv2d, out_channels: 4, kernel_size: 2, stride: 2}
              - {name: up, type: ConvTranspose2d, out_channels: 4, kernel_size: 2, stride: 2, output_size: x}
              - {name: down, type: Conv2d, out_channels: 4, kernel_size: 2, stride: 2}
          - {use: g.up}
        """
    )
    assert analysis.graph is not None
    assert analysis.graph.nodes[-1].size_of == analysis.graph.nodes[1].size_of


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("{use: nothing}", "3:16 there is no earlier layer `nothing`"),
        ("{name: conv, type: ReLU}, {use: covn}", "3:42 there is no earlier layer `covn` | did you mean `conv`?"),
        ("{name: a, use: a}", "3:25 `a` uses itself"),
        ("{use: later}, {name: later, type: ReLU}", "3:16 the layers form a cycle: 0 -> later -> 0 | a layer can only take outputs of earlier layers"),
        ("{use: x}", "3:16 `x` is an input, not a layer"),
        ("{name: p, type: MaxPool2d, kernel_size: 2, return_indices: true}, {use: p.indices}", "3:82 `p.indices` is an output, not a layer | write use: p"),
        ("{name: g, layers: [{name: one, type: ReLU}]}, {use: g.on}", "3:62 `g` has no child `on` | did you mean `one`?"),
        ("{name: g, layers: [{name: one, type: ReLU}]}, {use: one}", "3:62 there is no earlier layer `one` | known here: g"),
        ("{name: p, type: MaxPool2d, kernel_size: 2, return_indices: true}, {name: u, type: MaxUnpool2d, kernel_size: 2, inputs: [p, p.indices]}, {use: u}", "3:152 MaxUnpool2d takes 2 inputs (input, indices), got 1 | list them under `inputs`"),
        ("{name: a, type: ReLU}, {use: [a]}", "3:39 `use`: expected a reference (the name of an input or an earlier layer), got [the text \"a\"]"),
        ("{name: a, type: ReLUU}, {use: a}, {use: a.b}", "3:26 there is no layer type `ReLUU` | did you mean `ReLU`?"),
        ("{name: g, layers: [{type: ReLU, inputs: nope}]}, {use: g}, {use: g}", "3:50 there is no input or earlier layer `nope` | known here: x"),
        ("{name: a, type: ReLU}, {use: a, inputs: [x, a]}", "3:50 ReLU takes 1 input, got 2"),
    ],
)  # fmt: skip
def test_wrong_uses(layers: str, expected: str) -> None:
    assert wrong(f"layers: [{layers}]\n") == [expected]


def test_inplace_warnings_of_a_block_are_counted() -> None:
    analysis = analyse_text(
        HEAD
        + "blocks: {B: {layers: [{name: t, type: Tanh}, {name: r, type: ReLU, inplace: true}, {type: add, inputs: [t, r]}]}}\n"
        "layers: [{block: B, repeat: 4}]\n"
    )
    (warning,) = analysis.diagnostics
    assert warning.message.startswith("`0.t` is read again after `0.r` with inplace: true")
    assert [n.message for n in warning.notes] == [
        "overwritten here",
        "in the block instance `0`",
        "and 3 more instances",
    ]
