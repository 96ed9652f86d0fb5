"""`netspec shapes`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.analysis import analyse_file
from netspec.diagnostics import InputError, SpecError, render_text
from netspec.report.shapes import report_of, shaped_for, table, to_json


def run_shapes(file: Path, inputs: Sequence[str], format: str) -> None:
    """Print the report of one network."""
    analysis = analyse_file(file)
    if not analysis.valid:
        raise SpecError(analysis.diagnostics)
    assert analysis.graph is not None
    if analysis.diagnostics and format == "table":
        print(render_text(analysis.diagnostics, color=sys.stderr.isatty()), file=sys.stderr)
    given: dict[str, tuple[int, ...]] = {}
    for text in inputs:
        name, shape = parse_shape(text, list(analysis.graph.inputs))
        if name in given:
            raise InputError(f"--input {text}: input {name} is given twice")
        given[name] = shape
    report = report_of(shaped_for(analysis, given))
    if format == "json":
        print(json.dumps(to_json(report), indent=2))
    else:
        print(table(report, markdown=format == "markdown"))


def parse_shape(text: str, names: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """`[NAME=]1,3,224,224`; `[]` or nothing after the `=` is a single number."""
    name, equals, sizes = text.rpartition("=")
    if not equals:
        if len(names) != 1:
            raise InputError(f"--input {text}: say which input it is, such as {names[0]}={text}")
        name = names[0]
    sizes = sizes.strip("[]() ")
    try:
        parts = [part for part in sizes.split("," if "," in sizes else "x") if part.strip()]
        return name, tuple(int(part) for part in parts)
    except ValueError:
        raise InputError(f"--input {text}: expected a shape such as 1,3,224,224") from None
