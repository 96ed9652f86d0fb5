"""`netspec validate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from netspec.analysis import Analysis, analyse
from netspec.diagnostics import (
    Diagnostic,
    Note,
    WeightsError,
    has_errors,
    render_github,
    render_json,
    render_text,
    sort_diagnostics,
)
from netspec.document import Mapping, read_file


def run_validate(files: Sequence[Path], weights: Path | None, format: str) -> int:
    """Print what is wrong with the files; the exit code."""
    results: list[tuple[str, list[Diagnostic]]] = []
    fine: list[str] = []
    for path in files:
        found, summary = check_file(path, weights)
        results.append((str(path), found))
        if not has_errors(found):
            fine.append(f"{path}: {summary}")
    invalid = any(has_errors(found) for _, found in results)
    if format == "json":
        print(json.dumps(render_json(results), indent=2, ensure_ascii=False))
    elif format == "github":
        text = render_github([d for _, found in results for d in found])
        if text:
            print(text)
    else:
        everything = [d for _, found in results for d in found]
        if everything:
            print(render_text(everything, color=sys.stderr.isatty()), file=sys.stderr)
            print(count(everything, len(files)), file=sys.stderr)
        for line in fine:
            print(line)
    return int(invalid)


def count(found: Sequence[Diagnostic], files: int) -> str:
    """`2 errors and 1 warning in 1 file`."""
    parts = []
    for severity in ("error", "warning"):
        number = sum(d.severity == severity for d in found)
        if number:
            parts.append(f"{number} {severity}{'s' * (number > 1)}")
    return f"{' and '.join(parts) or 'notes'} in {files} file{'s' * (files > 1)}"


def check_file(path: Path, weights: Path | None) -> tuple[list[Diagnostic], str]:
    """The diagnostics of one file, and a line that says what it is when it is right."""
    document = read_file(path)
    if isinstance(document.root, Mapping) and "runner" in document.root and "layers" not in document.root:
        from netspec.runtime.profile import analyse_profile

        return analyse_profile(document)[1], "valid run profile"
    analysis = analyse(document, str(path.parent))
    found = list(analysis.diagnostics)
    if weights is not None and analysis.valid:
        found += check_weights(analysis, weights)
    return sort_diagnostics(found), _summary(analysis) if analysis.valid else ""


def check_weights(analysis: Analysis, path: Path) -> list[Diagnostic]:
    """What does not fit between a valid network and a checkpoint."""
    from netspec.graph.infer import states_of
    from netspec.interop.checkpoints import read_checkpoint
    from netspec.interop.fitting import fitted
    from netspec.runtime.weights import compare

    assert analysis.shaped is not None and analysis.spec is not None and analysis.graph is not None
    place = analysis.spec.find("weights") or analysis.spec.find_key("netspec")
    expected = states_of(analysis.shaped)
    try:
        difference = compare(expected, fitted(expected, read_checkpoint(path), analysis.graph, str(path)))
    except WeightsError as error:
        return [Diagnostic("weights-unreadable", "error", str(error), place, "weights")]
    if not difference:
        return []
    notes = tuple(Note(line) for line in difference.lines())
    message = f"{path} does not fit the network"
    return [Diagnostic("weights-mismatch", "error", message, place, "weights", notes)]


def _summary(analysis: Analysis) -> str:
    import math

    from netspec.graph.infer import states_of

    assert analysis.graph is not None and analysis.shaped is not None
    parameters = sum(math.prod(s.shape) for s in states_of(analysis.shaped).values() if not s.buffer)
    layers = len(analysis.graph.nodes)
    return f"valid ({layers} layer{'s' * (layers != 1)}, {parameters:,} parameters)"
