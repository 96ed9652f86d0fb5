"""`netspec validate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
from netspec.document import Document, Mapping, Scalar, read_file


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in each file that was checked, and a line for each one that is right."""

    found: list[tuple[str, list[Diagnostic]]]
    summaries: list[str]
    given: int
    """Number of files that were to be checked; with `only_networks` some of them are not."""

    @property
    def exit_code(self) -> int:
        """1 with errors; warnings alone are fine."""
        return int(any(has_errors(diagnostics) for _, diagnostics in self.found))


def run_validate(files: Sequence[Path], weights: Path | None, format: str, only_networks: bool) -> int:
    """Print what is wrong with the files; the exit code."""
    verdict = check_files(files, weights, only_networks)
    if format == "json":
        print(json.dumps(render_json(verdict.found), indent=2, ensure_ascii=False))
        return verdict.exit_code
    everything = show(verdict, format)
    if format == "text":
        if everything:
            print(count(everything, len(verdict.found)), file=sys.stderr)
        for line in verdict.summaries:
            print(line)
        if not verdict.found:
            print(nothing_checked(verdict))
    return verdict.exit_code


def check_files(files: Sequence[Path], weights: Path | None, only_networks: bool) -> Verdict:
    """Check every file; with `only_networks`, only those that are networks or run profiles."""
    found: list[tuple[str, list[Diagnostic]]] = []
    summaries: list[str] = []
    for path in files:
        document = read_file(path)
        if only_networks and not is_checked_alone(document):
            continue
        diagnostics, summary = check_document(document, path, weights)
        found.append((str(path), diagnostics))
        if not has_errors(diagnostics):
            summaries.append(f"{path}: {summary}")
    return Verdict(found, summaries, len(files))


def show(verdict: Verdict, format: str) -> list[Diagnostic]:
    """Print all diagnostics as text (standard error) or as GitHub's annotations; they are returned."""
    everything = [d for _, diagnostics in verdict.found for d in diagnostics]
    if everything and format == "github":
        print(render_github(everything))
    elif everything:
        print(render_text(everything, color=sys.stderr.isatty()), file=sys.stderr)
    return everything


def nothing_checked(verdict: Verdict) -> str:
    """What `only_networks` says when it left out everything."""
    return f"no network or run profile in {verdict.given} file{'s' * (verdict.given != 1)}"


def is_checked_alone(document: Document) -> bool:
    """Whether a YAML file is a network or a run profile, right or wrong, rather than anything else.

    A file of blocks is not: it is checked through the networks that include it. A file that cannot be read
    counts, so that this is said.
    """
    root = document.root
    if any(d.code in ("file-not-found", "file-unreadable") for d in document.diagnostics):
        return True
    if not isinstance(root, Mapping):  # what is left after a syntax error may be nothing
        from netspec.editor.buffers import Buffer

        return Buffer("", document.source.text).kind is not None
    if "netspec" in root:
        return "layers" in root or "inputs" in root or "blocks" not in root
    runner = root.get("runner")  # other programs' files have such a key, but not with a version
    return isinstance(runner, Scalar) and isinstance(runner.value, int)


def count(found: Sequence[Diagnostic], files: int) -> str:
    """`2 errors and 1 warning in 1 file`."""
    parts = []
    for severity in ("error", "warning"):
        number = sum(d.severity == severity for d in found)
        if number:
            parts.append(f"{number} {severity}{'s' * (number > 1)}")
    return f"{' and '.join(parts) or 'notes'} in {files} file{'s' * (files > 1)}"


def check_document(document: Document, path: Path, weights: Path | None) -> tuple[list[Diagnostic], str]:
    """The diagnostics of one file, and a line that says what it is when it is right."""
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
