"""Blocks, arguments, repetition and include: what is wrong, where, and in which instance."""

# ruff: noqa: E501 (golden text)

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.analysis import analyse_file, analyse_mapping, analyse_text
from netspec.diagnostics import Diagnostic
from netspec.network.expressions import ExpressionError, evaluate

HEAD = "netspec: 1\ninputs: {x: [N, 8, 16, 16]}\n"


def flat(found: tuple[Diagnostic, ...]) -> list[str]:
    """A line a diagnostic: place, code, message, help and notes."""
    lines = []
    for diagnostic in found:
        span = diagnostic.span
        place = "?"
        if span is not None:
            line, column = span.position
            place = f"{line}:{column}-{span.source.position(span.end)[1]}"
        text = f"{place} {diagnostic.code}: {diagnostic.message}"
        if diagnostic.help:
            text += f" | help: {diagnostic.help}"
        for note in diagnostic.notes:
            at = "" if note.span is None else " @{}:{}".format(*note.span.position)
            text += f" | note: {note.message}{at}"
        lines.append(text)
    return lines


def messages(text: str) -> list[str]:
    return [d.message for d in analyse_text(HEAD + text).diagnostics]


CASES: dict[str, tuple[str, list[str]]] = {
    "unknown_argument": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {args: {planes: null}, layers: [{type: Conv2d, out_channels: $planes, kernel_size: 1}]}
layers: [{block: B, with: {plane: 3}}]
""",
        [
            "5:28-33 unknown-argument: block B has no argument `plane` | help: did you mean `planes`? | note: block B is defined here @4:3",
        ],
    ),
    "missing_argument": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {args: {planes: null, stride: 1}, layers: [{type: Conv2d, out_channels: $planes, kernel_size: 1, stride: $stride}]}
layers: [{block: B}]
""",
        [
            "5:18-19 missing-argument: block B needs `planes` | help: write with: {planes: ...} | note: declared here, without a default @4:14",
        ],
    ),
    "no_such_argument": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {args: {planes: null}, layers: [{type: Conv2d, out_channels: $plane * 2, kernel_size: 1}]}
layers: [{block: B, with: {planes: 4}}]
""",
        [
            "4:67-73 unknown-argument: block B has no argument `plane` | help: did you mean `$planes`? | note: in the block instance `0` @5:18",
        ],
    ),
    "no_arguments_at_all": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {layers: [{type: Conv2d, out_channels: $planes, kernel_size: 1}]}
layers: [{block: B}]
""",
        [
            "4:45-52 unknown-argument: block B has no argument `planes` | help: declare it: args: {planes: null} | note: in the block instance `0` @5:18",
        ],
    ),
    "outside_blocks": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
layers: [{type: Conv2d, out_channels: $planes, kernel_size: $index}]
""",
        [
            "3:39-46 unknown-argument: `$planes` is outside all blocks: there are no arguments here | help: write the value, or put quotes around text that is meant as it is",
            "3:61-67 unknown-argument: `$index` is the number under `repeat`; nothing is repeated here",
        ],
    ),
    "not_integers": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {args: {a: null}, layers: [{type: Conv2d, out_channels: $a * 2, kernel_size: 1}]}
layers: [{block: B, with: {a: 1.5}}, {block: B, with: {a: [1, 2]}}, {block: B, with: {a: true}}]
""",
        [
            "4:62-64 wrong-type: arithmetic needs integers: `$a` is 1.5 | note: in the block instance `0` @5:18",
            "4:62-64 wrong-type: arithmetic needs integers: `$a` is a list | note: in the block instance `1` @5:46",
            "4:62-64 wrong-type: arithmetic needs integers: `$a` is true | note: in the block instance `2` @5:77",
        ],
    ),
    "division_by_zero": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {args: {a: null}, layers: [{type: Conv2d, out_channels: 8 // ($a - 2), kernel_size: 1}]}
layers: [{block: B, with: {a: 2}}]
""",
        [
            "4:67-75 division-by-zero: division by zero | note: in the block instance `0` @5:18",
        ],
    ),
    "malformed": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B:
    args: {a: 2}
    layers:
      - {type: Conv2d, out_channels: $a / 2, kernel_size: 1}
      - {type: Conv2d, out_channels: $a +, kernel_size: 1}
      - {type: Conv2d, out_channels: ($a, kernel_size: 1}
      - {type: Conv2d, out_channels: a * $a, kernel_size: 1}
      - {type: Conv2d, out_channels: $a 2, kernel_size: 1}
      - {type: Conv2d, out_channels: $5, kernel_size: 1}
      - {type: Conv2d, out_channels: $a * 9000000000000000000, kernel_size: 1}
layers: [{block: B}]
""",
        [
            "7:41-42 wrong-expression: `/` has no meaning here: expressions have integers, $arguments, + - * // and parentheses | help: integers are divided with // | note: in the block instance `0` @14:18",
            "8:38-42 wrong-expression: expected a number, an argument or `(`, got the end | note: in the block instance `0` @14:18",
            "9:38-41 wrong-expression: expected `)`, got the end | note: in the block instance `0` @14:18",
            "10:38-39 wrong-expression: `a` is an argument | help: write $a | note: in the block instance `0` @14:18",
            "11:41-42 wrong-expression: expected an operator, got `2` | note: in the block instance `0` @14:18",
            "12:38-39 wrong-expression: `$` has no meaning here: expressions have integers, $arguments, + - * // and parentheses | help: an argument is $ and a name; put quotes around text that is meant as it is | note: in the block instance `0` @14:18",
            "13:41-42 integer-too-large: the result does not fit 64 bits | note: in the block instance `0` @14:18",
        ],
    ),
    "recursion": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {layers: [{type: ReLU}, {block: B}]}
layers: [{block: B}]
""",
        [
            "4:38-39 recursive-block: block B contains itself: B -> B | help: a block cannot contain an instance of itself; use `repeat` for several in a row | note: block B is defined here @4:3 | note: in the block instance `0` @5:18",
        ],
    ),
    "mutual_recursion": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  A: {layers: [{block: B}]}
  B: {layers: [{layers: [{block: C}]}]}
  C: {args: {k: A}, layers: [{block: $k}]}
layers: [{type: ReLU}]
""",
        [
            "6:38-40 recursive-block: the blocks contain each other: A -> B -> C -> A | help: a block cannot contain an instance of itself; use `repeat` for several in a row | note: block A is defined here @4:3 | note: block B is defined here @5:3 | note: block C is defined here @6:3 | note: in the block instance `A.0.0.0` @5:34 | note: in the block instance `A.0` @4:24",
        ],
    ),
    "recursion_zero_times": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  A: {args: {n: null}, layers: [{type: ReLU}, {block: A, with: {n: $n - 1}, repeat: $n}]}
layers: [{block: A, with: {n: 0}}]
""",
        [
            "4:55-56 recursive-block: block A contains itself: A -> A | help: a block cannot contain an instance of itself; use `repeat` for several in a row | note: block A is defined here @4:3 | note: in the block instance `0` @5:18",
        ],
    ),
    "wrong_type_after": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {args: {k: null}, layers: [{type: Conv2d, out_channels: 8, kernel_size: $k}]}
layers:
  - {block: B, with: {k: big}}
  - {block: B, with: {k: [3, x]}}
""",
        [
            '4:78-80 wrong-type: `kernel_size`: expected an integer >= 1 or a list of them, got the text "big" | note: in the block instance `0` @6:13',
            '4:78-80 wrong-type: `kernel_size`: expected an integer >= 1 or a list of them, got [3, the text "x"] | note: in the block instance `1` @7:13',
        ],
    ),
    "many_instances": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {args: {k: null}, layers: [{type: ReLU, bogus: 1}, {type: Conv2d, out_channels: $k, kernel_size: 1}]}
  C: {layers: [{name: inner, block: B, with: {k: 8}, repeat: 2}]}
layers:
  - {name: layer1, layers: [{block: C, repeat: 3}]}
  - {block: B, with: {k: 4}}
""",
        [
            "4:46-51 unknown-key: ReLU has no parameter `bogus` | help: known here: name, inputs, init, inplace, repeat | note: in the block instance `layer1.0.inner.0` @5:37 | note: in the block instance `layer1.0` @7:37 | note: and 6 more instances",
        ],
    ),
    "reference_in_block": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {layers: [{name: c, type: ReLU, inputs: outer}, {type: add, inputs: [c, image]}]}
layers:
  - {name: outer, type: ReLU}
  - {block: B, repeat: 3}
""",
        [
            "4:46-51 unknown-reference: there is no input or earlier layer `outer` | help: known here: x | note: in the block instance `1` @7:13 | note: and 2 more instances",
            "4:78-83 unknown-reference: there is no input or earlier layer `image` | help: known here: x, c | note: in the block instance `1` @7:13 | note: and 2 more instances",
        ],
    ),
    "shape_in_block": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {args: {c: null}, layers: [{name: conv, type: Conv2d, in_channels: $c, out_channels: 4, kernel_size: 1}]}
  O: {layers: [{name: deep, block: B, with: {c: 3}}]}
layers: [{name: outer, block: O}]
""",
        [
            "4:73-75 channel-mismatch: Conv2d `outer.deep.conv`: in_channels is 3, but the input has 8 channels: [N, 8, 16, 16] | help: write in_channels: 8 | note: `x` (input) gives [N, 8, 16, 16] float32 @2:10 | note: in the block instance `outer.deep` @5:36 | note: in the block instance `outer` @6:31",
        ],
    ),
    "unused_blocks": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  A: {layers: [{type: ReLu}]}
  B: {args: {n: null}, layers: [{type: Conv2d, out_channels: $n, kernel_size: 1.5, strid: 2}, {type: ReLU, inputs: nope}, {type: Conv2d, out_channels: $m, kernel_size: 1}, {block: A}]}
  C: {args: {n: null}, layers: [{name: r, type: ReLU, repeat: $n}, {type: ReLU, inputs: r.5}, {block: Missing, with: {k: $n}}], outputs: [r, q]}
layers: [{type: ReLU}]
""",
        [
            "4:23-27 unknown-type: there is no layer type `ReLu` | help: did you mean `ReLU`?",
            "5:79-82 wrong-type: `kernel_size`: expected an integer >= 1 or a list of them, got 1.5",
            "5:84-89 unknown-key: Conv2d has no parameter `strid` | help: did you mean `stride`?",
            "5:116-120 unknown-reference: there is no input or earlier layer `nope` | help: known here: x, 0",
            "5:152-154 unknown-argument: block B has no argument `m` | help: its arguments are n",
            "6:103-110 unknown-block: there is no block `Missing` | help: the blocks are A, B, C",
        ],
    ),
    "block_keys": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  A: {layer: [{type: ReLU}]}
  B: {layers: []}
  C: 3
  D: {layers: {type: ReLU}, args: [a, b], inputs: x, outputs: y}
  "E-1": {layers: [{type: ReLU}], inputs: [x, x, "a b"], outputs: []}
  F: {args: {index: 1, 2a: 3, b: {default: 1, doc: x}, c: $b}, layers: [{type: ReLU}]}
layers: [{block: A}, {block: C}]
""",
        [
            "4:3-4 missing-key: block A needs `layers`, a list of layers",
            "4:7-12 unknown-key: a block has no key `layer` | help: did you mean `layers`?",
            "5:15-17 wrong-type: layers: expected a list with at least one layer, got an empty list",
            "6:6-7 wrong-type: a block is a mapping with layers, got 3",
            "7:15-27 wrong-type: layers: expected a list with at least one layer, got a mapping",
            '7:35-41 wrong-type: args: expected a mapping from names to defaults, got [the text "a", the text "b"] | help: write {a: null, b: null}',
            '7:51-52 wrong-type: inputs: expected a list of names, got the text "x" | help: write [x]',
            '7:63-64 wrong-type: outputs: expected a list of references, got the text "y" | help: write [y]',
            '8:3-8 invalid-name: block `E-1`: a name has letters, digits and _ only, got the text "E-1" | help: for example E_1',
            "8:47-48 duplicate-name: the input `x` is listed twice",
            '8:50-55 invalid-name: `inputs`: a name has letters, digits and _ only, got the text "a b" | help: for example a_b',
            "8:67-69 wrong-type: outputs: expected a list of references, got an empty list",
            "9:14-19 invalid-name: `index` cannot be an argument: $index is the number under `repeat`",
            '9:24-26 invalid-name: an argument\'s name is letters, digits and _ and starts with no digit, got "2a"',
            "9:47-50 unknown-key: an argument has no key `doc` | help: known here: default",
            '9:59-61 wrong-expression: a default cannot use arguments, got the text "$b" | help: put quotes around text that is meant as it is',
        ],
    ),
    "entry_keys": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  A: {layers: [{type: ReLU}]}
layers:
  - {block: A, wiht: {a: 1}}
  - {block: A, with: 3}
  - {block: Relu}
  - {block: ReLU}
  - {block: [A]}
  - {type: A}
  - {blok: A}
  - A
  - {block: A, with: {a: 1}, inputs: [0, 1]}
  - {block: A, inputs: [a-b]}
  - {use: 0, with: 3}
  - {layers: [{type: ReLU}], repaet: 3}
""",
        [
            "6:16-20 unknown-key: a block's instance has no key `wiht` | help: did you mean `with`?",
            "7:22-23 wrong-type: with: expected a mapping from arguments to values, got 3",
            "8:13-17 unknown-block: there is no block `Relu` | help: the blocks are A",
            "9:13-17 unknown-block: there is no block `ReLU` | help: `ReLU` is a layer type: write type: ReLU",
            '10:13-16 wrong-type: block: expected the name of a block, got [the text "A"]',
            "11:12-13 unknown-type: there is no layer type `A` | help: `A` is a block: write block: A",
            "12:6-10 unknown-key: an entry has no key `blok` | help: did you mean `block`?",
            '13:5-6 wrong-type: a layer is a mapping such as {type: ReLU}, got the text "A" | help: write {block: A}',
            "14:23-24 unknown-argument: block A has no argument `a` | help: it has no arguments | note: block A is defined here @4:3",
            "14:38-44 wrong-input-count: block A takes 1 input (x), got 2",
            '15:24-29 invalid-reference: `inputs`: a reference is a name, or names joined by dots such as pool1.indices, got the text "a-b"',
            "16:14-18 unknown-key: a use has no key `with` | help: known here: name, inputs, use, repeat",
            "17:30-36 unknown-key: a nested list has no key `repaet` | help: did you mean `repeat`?",
        ],
    ),
    "repeat_errors": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
layers:
  - {type: ReLU, repeat: -1}
  - {type: ReLU, repeat: many}
  - {type: ReLU, repeat: {from: 1}}
  - {type: ReLU, repeat: {times: 2, form: 1}}
  - {type: ReLU, repeat: 2.0}
  - {type: ReLU, repeat: 300000}
""",
        [
            "4:26-28 out-of-range: `repeat`: expected an integer >= 0, got -1",
            '5:26-30 wrong-type: `repeat`: expected an integer >= 0, got the text "many"',
            "6:18-24 missing-key: repeat needs `times`",
            "7:37-41 unknown-key: repeat has no key `form` | help: did you mean `from`?",
            "8:26-29 wrong-type: `repeat`: expected an integer >= 0, got 2.0",
            "9:12-16 too-many-layers: more than 200,000 layers, with blocks and repetitions written out",
        ],
    ),
    "repeat_names": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
layers:
  - {type: ReLU, name: "a{}"}
  - {type: ReLU, name: "b{}c d", repeat: 2}
  - {type: ReLU, name: $index, repeat: 2}
  - {type: ReLU, name: "c{}", repeat: 2}
  - {type: ReLU, name: c1}
  - {type: ReLU, name: "c{}", repeat: 3}
  - {type: ReLU, name: {a: 1}, repeat: 3}
""",
        [
            '4:24-29 invalid-name: `name`: a name has letters, digits and _ only, got the text "a{}" | help: {} is replaced by the number under `repeat`',
            '5:24-32 invalid-name: `name`: a name has letters, digits and _ only, got the text "b{}c d" | help: for example b_c_d',
            "6:24-30 invalid-name: `name`: $index cannot stand here | help: write {} for the number",
            "8:24-26 duplicate-name: the name `c1` is taken | help: names are unique in their list | note: first used here @7:24",
            "9:24-29 duplicate-name: the name `c0` is taken | help: names are unique in their list | note: first used here @7:24",
            "9:24-29 duplicate-name: the name `c1` is taken | help: names are unique in their list | note: first used here @7:24",
            "10:24-30 wrong-type: `name`: expected a name, got a mapping",
        ],
    ),
    "all_zero": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
layers: [{type: ReLU, repeat: 0}]
""",
        [
            "3:1-7 missing-key: no layer is left: everything is repeated 0 times",
        ],
    ),
    "input_counts": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  Two: {inputs: [x, y], layers: [{type: ReLU}, {type: add, inputs: [x, y]}]}
  None_: {inputs: [], layers: [{type: ReLU}]}
layers: [{block: Two}, {block: Two, inputs: [x, x, x]}, {block: None_}, {name: g, block: Two, repeat: 2}]
""",
        [
            "4:41-45 missing-input: the first layer must say which input it takes: there are x, y | help: for example inputs: x | note: in the block instance `0` @6:18 | note: and 3 more instances",
            "5:39-43 missing-input: the block has no inputs, and nothing comes before this layer | note: in the block instance `2` @6:65",
            "6:18-21 wrong-input-count: block Two takes 2 inputs (x, y), got 1 | help: list them under `inputs`",
            "6:45-54 wrong-input-count: block Two takes 2 inputs (x, y), got 3",
            "6:90-93 wrong-input-count: block Two takes 2 inputs (x, y), got 1 | help: list them under `inputs` | note: and 1 more instance",
        ],
    ),
    "name_clash": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {inputs: [x, y], layers: [{name: x, type: ReLU}, {name: z, type: ReLU, repeat: 2}, {name: z, type: ReLU}]}
layers: [{block: B, inputs: [x, x]}]
""",
        [
            "4:39-40 duplicate-name: the name `x` is taken by an input of block B | note: the input @4:15 | note: in the block instance `0` @5:18",
            "4:48-52 missing-input: the first layer must say which input it takes: there are x, y | help: for example inputs: x | note: in the block instance `0` @5:18",
            "4:96-97 duplicate-name: the name `z` is taken | help: names are unique in their list | note: first used here @4:62 | note: in the block instance `0` @5:18",
        ],
    ),
    "outputs": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
blocks:
  B: {layers: [{name: c, type: ReLU}], outputs: [c, d, c.e, "-"]}
layers: [{name: b, block: B}, {type: ReLU, inputs: b.7}, {type: ReLU, inputs: b.q}]
""",
        [
            "4:53-54 unknown-reference: there is no input or earlier layer `d` | help: known here: x, c | note: in the block instance `b` @5:27",
            "4:56-59 unknown-reference: `c` (ReLU) has no output `e` | help: it has out | note: in the block instance `b` @5:27",
            '4:61-64 invalid-reference: `outputs`: a reference is a name, or names joined by dots such as pool1.indices, got the text "-" | note: in the block instance `b` @5:27',
            "5:52-55 unknown-reference: `b` (block B) has no output `7` | help: it has c, 0, 1, 2, 3",
            "5:79-82 unknown-reference: `b` (block B) has no output `q` | help: it has c, 0, 1, 2, 3",
        ],
    ),
    "flow_braces": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
layers: [{type: ReLU, name: d{}, repeat: 2}]
""",
        [
            "3:30-31 missing-comma: expected `,` or `}` before `{` | help: put a comma between entries",
        ],
    ),
    "include_mapping": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
include: [a.yaml]
layers: [{type: ReLU}]
""",
        [
            "3:11-17 include-refused: include needs a file to start from; this network was not read from one | help: put the blocks under `blocks`",
        ],
    ),
    "include_types": (
        """\
netspec: 1
inputs: {x: [N, 8, 16, 16]}
include: a.yaml
layers: [{type: ReLU}]
""",
        [
            '3:10-16 wrong-type: include: expected a list of files, got the text "a.yaml" | help: write [a.yaml]',
        ],
    ),
    "only_blocks": (
        """\
netspec: 1
blocks:
  B: {layers: [{type: ReLUU}]}
""",
        [
            "1:1-8 missing-key: the network needs `inputs` and `layers` | help: a file of blocks is checked through the network that includes it",
            "3:23-28 unknown-type: there is no layer type `ReLUU` | help: did you mean `ReLU`?",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, expected = CASES[name]
    assert flat(analyse_text(text).diagnostics) == expected


def test_every_mistake_of_a_block_is_found_again_from_python() -> None:
    """Without places, but with the same words."""
    import yaml

    for name in ("unknown_argument", "missing_argument", "division_by_zero", "recursion", "wrong_type_after"):
        text, _ = CASES[name]
        found = analyse_mapping(yaml.safe_load(text)).diagnostics
        assert [(d.code, d.message, d.span) for d in found] == [
            (d.code, d.message, None) for d in analyse_text(text).diagnostics
        ]


# --- substitution -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$a * 4", 12),
        ("($a + 1)//2", 2),
        ("-$a", -3),
        ("--$a - -1", 4),
        ("-$a//2", -2),
        ("2 + 3*$a", 11),
        ("$a-1-1", 1),
        ("((($a)))", 3),
        ("H*$a", "H*3"),
        ("(H + $a)//$b", "(H + 3)//(-2)"),
    ],
)
def test_expressions(text: str, value: int | str) -> None:
    assert evaluate(text, lambda name, offset: {"a": 3, "b": -2}[name]) == value


@given(st.text(alphabet="$ab0123 +-*/(),.", max_size=30))
def test_expressions_give_a_value_or_a_reason(text: str) -> None:
    found: Any
    try:
        found = evaluate(text, lambda name, offset: 3)
    except ExpressionError as error:
        found = error
    assert isinstance(found, int | str) or 0 <= found.start <= found.end <= len(text) + 1


def test_deep_parentheses() -> None:
    with pytest.raises(ExpressionError, match="too deep"):
        evaluate("(" * 10_000 + "$a" + ")" * 10_000, lambda name, offset: 1)
    assert evaluate("-" * 10_000 + "$a", lambda name, offset: 1) == 1
    assert evaluate("$a" + " + $a" * 10_000, lambda name, offset: 1) == 10_001


def test_arguments_of_every_type() -> None:
    analysis = analyse_text(
        HEAD
        + """\
blocks:
  B:
    args: {size: null, bias: true, act: ReLU, mode: zeros, init: {weight: 0.5}, from: x, name: conv, opt: {default: null}}
    layers:
      - {name: $name, type: Conv2d, out_channels: 4, kernel_size: $size, bias: $bias, padding_mode: $mode, init: $init, inputs: $from}
      - {type: $act}
      - {type: Softmax, dim: $opt}
layers:
  - {name: b, block: B, with: {size: [3, 1], bias: false, act: Tanh, name: 310, init: {weight: {method: ones}}}}
"""
    )
    assert [d.code for d in analysis.diagnostics] == ["implicit-dim"]  # a warning: dim is None
    assert analysis.graph is not None
    nodes = analysis.graph.nodes
    assert [n.path for n in nodes] == ["b.310", "b.1", "b.2"]
    layer: Any = nodes[0].layer
    assert (layer.kernel_size, layer.bias, layer.padding_mode) == ((3, 1), False, "zeros")
    assert nodes[1].layer is not None
    assert nodes[1].layer.type_name == "Tanh"


def test_symbols_and_arguments_in_one_expression() -> None:
    analysis = analyse_text(
        "netspec: 1\ninputs: {x: [N, 8, H, W]}\n"
        "blocks: {B: {args: {r: 2}, layers: [{type: reshape, shape: [N, 8 // $r, H*$r, W]}]}}\n"
        "layers: [{block: B}]\n"
    )
    assert analysis.diagnostics == ()
    assert analysis.shaped is not None
    assert str(analysis.shaped.outputs["0"]) == "[N, 4, 2*H, W]"


def test_quoted_text_is_left_alone() -> None:
    found = messages(
        "blocks: {B: {args: {a: 1}, layers: [{type: Conv2d, out_channels: '$a', kernel_size: 1}]}}\nlayers: [{block: B}]\n"
    )
    assert found == ['`out_channels`: expected an integer >= 1, got the text "$a"']


def test_blocks_and_lists_as_arguments() -> None:
    analysis = analyse_text(
        HEAD
        + """\
blocks:
  A: {layers: [{type: ReLU}]}
  B: {args: {kind: null, body: null}, layers: [{block: $kind}, {layers: $body}]}
layers: [{name: b, block: B, with: {kind: A, body: [{type: Tanh}, {type: ReLU}]}}]
"""
    )
    assert analysis.diagnostics == ()
    assert analysis.graph is not None
    assert [n.path for n in analysis.graph.nodes] == ["b.0.0", "b.1.0", "b.1.1"]


def test_origins_name_the_instances() -> None:
    analysis = analyse_text(
        HEAD
        + """\
blocks:
  A: {layers: [{name: r, type: ReLU}]}
  B: {layers: [{name: a, block: A}]}
layers: [{name: g, layers: [{block: B, repeat: 2}]}]
"""
    )
    assert analysis.graph is not None
    origins = [node.origin for node in analysis.graph.nodes]
    assert [[label for label, _ in o.instance] for o in origins] == [["g.0", "g.0.a"], ["g.1", "g.1.a"]]
    assert [[str(span) for _, span in o.instance] for o in origins] == [["<text>:6:37", "<text>:5:33"]] * 2
    assert {o.path for o in origins} == {("blocks", "A", "layers", 0)}
    assert {str(o.span) for o in origins} == {"<text>:4:23"}


def test_a_broken_file_is_still_looked_at() -> None:
    """A syntax error in a block hides neither its neighbours nor makes up further mistakes."""
    found = flat(
        analyse_text(
            HEAD
            + """\
blocks:
  B:
    args: {a: null, b: [1, 2}
    layers:
      - {type: Conv2d, out_channels: $a, kernel_size: 3 stride: 2}
      - {type: ReLUU}
layers:
  - {block: B, with: {a: 3}}
"""
        ).diagnostics
    )
    assert [line.split()[1] for line in found] == ["unclosed-bracket:", "missing-comma:", "unknown-type:"]


# --- include ----------------------------------------------------------------------------------------

BLOCK = "netspec: 1\nblocks:\n  {}: {{layers: [{{type: ReLU}}]}}\n"


def files(root: Path, **texts: str) -> Path:
    """Files in a folder (`__` is a slash); the path of net.yaml."""
    for name, text in texts.items():
        path = root / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "net.yaml"


def including(
    tmp_path: Path, include: str, layers: str = "[{type: ReLU}]", more: str = "", **texts: str
) -> list[str]:
    """What is wrong with a network that includes files, each line with its file."""
    path = files(tmp_path, net=f"{HEAD}include: {include}\nlayers: {layers}\n{more}", **texts)
    found = analyse_file(path).diagnostics
    names = [Path(d.span.source.name).relative_to(tmp_path).as_posix() if d.span else "?" for d in found]
    return [f"{name}:{line}" for name, line in zip(names, flat(found), strict=True)]


def test_include(tmp_path: Path) -> None:
    found = including(
        tmp_path,
        "[blocks/a.yaml, blocks/sub/b.yaml]",
        "[{block: A}, {block: B}, {block: C}]",
        blocks__a="description: the first\ninclude: [sub/b.yaml]\n" + BLOCK.format("A"),
        blocks__sub__b="include: [c.yaml]\n" + BLOCK.format("B"),
        blocks__sub__c=BLOCK.format("C"),
    )
    assert found == []


def test_diagnostics_of_included_files_have_their_own_places(tmp_path: Path) -> None:
    found = including(
        tmp_path,
        "[a.yaml, b.yaml]",
        "[{name: here, block: A, with: {n: 0}}]",
        a="netspec: 1\nblocks:\n  A: {args: {n: null}, layers: [{type: Conv2d, out_channels: $n, kernel_size: 1}]}\n",
        b="netspec: 1\nblocks:\n  B: {layers: [{type: ReLU, x: 1}]}\n  C: {layers: [}\n",
    )
    assert found == [
        "b.yaml:3:29-30 unknown-key: ReLU has no parameter `x` | help: known here: name, inputs, init, inplace, repeat",
        "b.yaml:4:15-16 unclosed-bracket: `[` is not closed | help: add `]` | note: `}` comes first @4:16",
        "a.yaml:3:62-64 out-of-range: `out_channels`: expected an integer >= 1, got 0 | note: in the block instance `here` @4:30",
    ]


def test_what_a_missing_file_or_broken_block_would_have_said_is_not_missed(tmp_path: Path) -> None:
    found = including(
        tmp_path,
        "[missing.yaml]",
        "[{block: A}, {block: B}]",
        "blocks: {B: {args: [a], layers: [{type: ReLU, inplace: $a}]}}\n",
    )
    assert [line.split()[1] for line in found] == ["file-not-found:", "wrong-type:"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.yaml", "4:11-23 file-not-found: include `missing.yaml`: there is no such file"),
        ("sub", "3:11-14 file-unreadable: include `sub`: this is not a file"),
        ("/etc/passwd", "include-refused: `/etc/passwd` is not inside this file's folder"),
        ("../other.yaml", "include-refused: `../other.yaml` is not inside this file's folder"),
        ("sub/../../other.yaml", "include-refused: `sub/../../other.yaml` is not inside this file's folder"),
        ("link.yaml", "include-refused: `link.yaml` is not inside this file's folder"),
        ("sub/link/other.yaml", "include-refused: `sub/link/other.yaml` is not inside this file's folder"),
        ('"C:\\\\x.yaml"', "include-refused: `C:\\x.yaml` is not inside this file's folder"),
        ('"~/x.yaml"', "include-refused: `~/x.yaml` is not inside this file's folder"),
        ('"a\\0b"', "include"),
        ("3", "wrong-type: include: expected a file, got 3"),
        ('""', 'wrong-type: include: expected a file, got the text ""'),
    ],
)
def test_paths_that_are_refused(tmp_path: Path, path: str, message: str) -> None:
    inner = tmp_path / "inner"
    (inner / "sub").mkdir(parents=True)
    files(tmp_path, other=BLOCK.format("A"))
    os.symlink(tmp_path / "other.yaml", inner / "link.yaml")
    os.symlink(tmp_path, inner / "sub" / "link")
    (line,) = including(inner, f"[{path}]")
    assert message.split(" ", 1)[-1] in line


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    files(tmp_path, a=BLOCK.format("A"))
    os.symlink(tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert including(tmp_path, "[b.yaml, a.yaml, ./a.yaml]", "[{block: A}]") == []


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert including(tmp_path, "[pipe.yaml]") == [
        "net.yaml:3:11-20 file-unreadable: include `pipe.yaml`: this is not a file"
    ]


def test_cycles_of_files(tmp_path: Path) -> None:
    found = including(
        tmp_path, "[a.yaml]", a="include: [b.yaml]\n" + BLOCK.format("A"), b="include: [a.yaml]\nnetspec: 1\n"
    )
    assert found == ["b.yaml:1:11-17 include-cycle: the files include each other: a.yaml -> b.yaml -> a.yaml"]
    assert including(tmp_path, "[net.yaml]") == [
        "net.yaml:3:11-19 include-cycle: the files include each other: net.yaml -> net.yaml"
    ]


def test_two_blocks_of_one_name(tmp_path: Path) -> None:
    found = including(
        tmp_path, "[a.yaml]", "[{block: A}]", "blocks: {A: {layers: [{type: ReLU}]}}\n", a=BLOCK.format("A")
    )
    assert found == [
        "net.yaml:5:10-11 duplicate-name: there are two blocks `A` | help: the blocks of a file and of those it includes have different names | note: the first one is here @3:3"
    ]


def test_what_an_included_file_may_say(tmp_path: Path) -> None:
    found = including(
        tmp_path, "[a.yaml, b.yaml, c.yaml]", a="layers: []\ndescription: [a]\n", b="[1]\n", c="netspec: 2\n"
    )
    assert found == [
        "a.yaml:1:1-7 unknown-key: an included file has no key `layers` | help: known here: netspec, description, include, blocks",
        "a.yaml:1:1-7 missing-key: an included file needs `netspec`, the version of the format | help: write `netspec: 1` on the first line",
        'a.yaml:2:14-17 wrong-type: `description`: expected a text, got [the text "a"]',
        "b.yaml:1:1-4 wrong-type: an included file is a mapping with blocks, got [1]",
        "c.yaml:1:10-11 unknown-version: `netspec`: expected format version 1, got 2 | help: this netspec reads `netspec: 1`",
    ]


def test_too_many_files(tmp_path: Path) -> None:
    for i in range(300):
        files(tmp_path, **{f"f{i}": BLOCK.format(f"B{i}")})
    found = including(tmp_path, "[" + ", ".join(f"f{i}.yaml" for i in range(300)) + "]")
    assert len(found) == 1
    assert "too-many-files: more than 256 files are included" in found[0]


# --- limits -----------------------------------------------------------------------------------------


def _chain(number: int, inner: str, last: str, args: str = "") -> str:
    blocks = "".join(f"  B{i}: {{{args}layers: [{inner.format(i + 1)}]}}\n" for i in range(number))
    return f"blocks:\n{blocks}  B{number}: {{{args}layers: [{last}]}}\nlayers: [{{block: B0}}]\n"


def _uses(number: int) -> str:
    lines = []
    for level in range(number):
        lines += ["    " * level + "- name: a", "    " * level + "  layers:"]
    lines.append("    " * number + "- {type: ReLU}")
    for level in reversed(range(number)):
        lines += ["    " * level + "- {use: a}"] * 2
    return "layers:\n" + "\n".join(lines) + "\n"


BOMBS = {
    "doubling": (_chain(50, "{{block: B{0}}}, {{block: B{0}}}", "{type: ReLU}"), "more than 200,000 layers"),
    "repeats": (_chain(9, "{{block: B{0}, repeat: 100}}", "{type: ReLU}"), "more than 200,000 layers"),
    "different arguments": (
        _chain(4, "{{block: B{0}, with: {{i: $i * 100 + $index}}, repeat: 100}}",
               "{type: Conv2d, out_channels: $i + 1, kernel_size: 1}", "args: {i: 0}, "),
        "more than 20,000 instances of blocks with different arguments",
    ),
    "one repeat": ("layers: [{type: ReLU, repeat: 1000000000000}]\n", "more than 200,000 layers"),
    "an index": ("layers: [{type: ReLU, name: 'a{}', repeat: 4000000000}]\n", "more than 200,000 layers"),
    "nested repeats": (
        "layers: [{repeat: 1000, layers: [{repeat: 1000, layers: [{repeat: 1000, layers: [{type: ReLU}]}]}]}]\n",
        "more than 200,000 layers",
    ),
    "uses": (_uses(20), "more than 200,000 layers"),
    "values": (_chain(50, "{{block: B{0}, with: {{a: [$a, $a]}}}}", "{type: ReLU}", "args: {a: 1}, "), "arguments bring"),
    "deep values": (_chain(60, "{{block: B{0}, with: {{a: [$a]}}}}", "{type: ReLU}", "args: {a: 1}, "), "nested more than 32"),
    "deep blocks": (_chain(100, "{{block: B{0}}}", "{type: ReLU}"), "nested more than 64 deep"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_quickly(name: str) -> None:
    text, message = BOMBS[name]
    start = time.perf_counter()
    found = messages(text)
    assert time.perf_counter() - start < 90  # measured: at most 2.2 s alone
    assert len(found) <= 2
    assert message in found[0]


@pytest.mark.parametrize(
    "layers", ["{block: B, repeat: 2500}", ", ".join(["{block: B}"] * 2500)], ids=["repeat", "written"]
)
def test_ten_thousand_layers(layers: str) -> None:
    text = (
        HEAD
        + "blocks: {B: {args: {c: 8}, layers: [{type: Conv2d, out_channels: $c, kernel_size: 3, padding: 1},"
        " {type: BatchNorm2d, num_features: $c}, {type: ReLU}, {type: Identity}]}}\nlayers: ["
        + layers
        + "]\n"
    )
    start = time.perf_counter()
    analysis = analyse_text(text)
    assert time.perf_counter() - start < 90  # measured: 0.3 s alone
    assert analysis.diagnostics == ()
    assert analysis.graph is not None
    assert len(analysis.graph.nodes) == 10_000
    assert len({id(n.layer) for n in analysis.graph.nodes}) == 4


# --- properties -------------------------------------------------------------------------------------

_scalars = st.sampled_from([
    None, True, 0, 1, 2, 3, -1, 2.5, "x", "a", "b", "c", "0", "1", "a.0", "a.b", "$p", "$q", "$index", "$p * 2", "$p //",
    "1 // $q", "ReLU", "Conv2d", "add", "A", "B", "C", "a{}", [], ["x", "a"], ["0", "$p"], {}, {"p": 1}, {"q": "$p"},
    {"times": 2, "from": 1}, {"default": None}, "cat", "Parameter",
])  # fmt: skip
_keys = st.sampled_from(
    ["name", "type", "block", "with", "use", "inputs", "repeat", "out_channels", "kernel_size", "dim"]
)
_entries = st.recursive(
    st.one_of(
        st.dictionaries(_keys, _scalars, max_size=5),
        st.fixed_dictionaries({"type": st.sampled_from(["ReLU", "add", "cat"])}, optional={"name": _scalars, "inputs": _scalars, "repeat": _scalars}),
        st.fixed_dictionaries({"block": st.sampled_from(["A", "B", "C"])}, optional={"name": _scalars, "with": _scalars, "inputs": _scalars, "repeat": _scalars}),
        st.fixed_dictionaries({"use": _scalars}, optional={"name": _scalars, "inputs": _scalars, "repeat": _scalars}),
    ),
    lambda inner: st.fixed_dictionaries({"layers": st.lists(inner, max_size=4)}, optional={"name": _scalars, "inputs": _scalars, "repeat": _scalars}),
    max_leaves=8,
)  # fmt: skip
_blocks = st.fixed_dictionaries(
    {"layers": st.lists(_entries, min_size=1, max_size=4)},
    optional={"args": st.dictionaries(st.sampled_from(["p", "q"]), _scalars), "inputs": st.lists(st.sampled_from(["x", "y"]), unique=True), "outputs": st.lists(_scalars, max_size=3)},
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["A", "B", "C"]), _blocks, max_size=3),
    st.lists(_entries, min_size=1, max_size=5),
)
def test_random_networks_never_raise(blocks: dict[str, Any], layers: list[Any]) -> None:
    mapping = {"netspec": 1, "inputs": {"x": ["N", 8, 4, 4]}, "blocks": blocks, "layers": layers}
    analysis = analyse_mapping(mapping)
    assert all(d.message for d in analysis.diagnostics)
    if analysis.valid:
        assert analysis.graph is not None
        names = [node.path for node in analysis.graph.nodes]
        assert len(set(names)) == len(names)


def _plain_types() -> st.SearchStrategy[Any]:
    leaf = st.builds(
        lambda n: {"type": "Linear", "in_features": 4, "out_features": 4, **({"repeat": n} if n else {})},
        st.integers(0, 3),
    )
    return st.recursive(leaf, lambda inner: st.builds(lambda entries, n: {"layers": entries, **({"repeat": n} if n else {})},
                        st.lists(inner, min_size=1, max_size=3), st.integers(0, 3)), max_leaves=6)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(_plain_types(), min_size=1, max_size=3))
def test_blocks_and_nested_lists_give_the_same_names(layers: list[Any]) -> None:
    """A list moved into a block without arguments, and repetitions written out, change no name and no edge."""

    def written(entries: list[Any]) -> list[Any]:
        result = []
        for entry in entries:
            again = {k: written(v) if k == "layers" else v for k, v in entry.items() if k != "repeat"}
            result += [again] * entry.get("repeat", 1)
        return result

    head = {"netspec": 1, "inputs": {"x": ["N", 4]}}
    one = analyse_mapping({**head, "layers": [{"layers": layers}]})
    two = analyse_mapping({**head, "layers": [{"layers": written(layers)}]})
    three = analyse_mapping({**head, "blocks": {"B": {"layers": layers}}, "layers": [{"block": "B"}]})
    assert one.valid
    edges = []
    for analysis in (one, two, three):
        assert analysis.graph is not None
        edges.append([(n.path, [analysis.graph.label(r) for r in n.inputs]) for n in analysis.graph.nodes])
    assert edges[0] == edges[1] == edges[2]
