"""`netspec validate --watch`: the files are checked again whenever one that matters has changed.

Files are compared by what `stat` says of them, five times a second. That needs no library, sees a file that
is deleted, comes back or is replaced by another of its name (as editors do when they save), and works on
network folders, where notifications of the operating system do not.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from netspec.cli.validate import Verdict, check_files, count, nothing_checked, show
from netspec.diagnostics import render_json
from netspec.document import Mapping, Scalar, read_file
from netspec.document import Sequence as ListNode
from netspec.network.blocks import MAX_FILES

PERIOD = 0.2
"""Seconds between two looks at the files."""
SETTLING = 0.05
"""Seconds without a change after which a file counts as written."""
PATIENCE = 1.0
"""Seconds after which a file that never settles (a log, a copy that takes long) is checked as it is."""
CLEAR = "\x1b[2J\x1b[H"

Stamp = tuple[int, ...] | None
"""What changes when a file does; None: there is no such file."""


def watch(files: Sequence[Path], weights: Path | None, format: str, only_networks: bool) -> int:
    """Check the files, and again at each change, until ctrl-C; the exit code of the last verdict."""
    exit_code = 0
    try:
        while True:
            stamps = watched(files, weights)
            verdict = check_files(files, weights, only_networks)
            exit_code = verdict.exit_code
            _report(verdict, format, len(stamps))
            wait_for_change(stamps)
    except KeyboardInterrupt:
        return exit_code


def watched(files: Iterable[Path], weights: Path | None) -> dict[Path, Stamp]:
    """The files that a verdict depends on, with their stamps: those given, those they include, the weights.

    Each is stamped before it is read, so that no change between the two goes unseen.
    """
    stamps: dict[Path, Stamp] = {}
    pending = list(files)
    most = len(pending) + MAX_FILES
    while pending and len(stamps) < most:
        path = pending.pop()
        if path not in stamps:
            stamps[path] = stamp(path)
            pending += includes(path)
    if weights is not None:
        stamps[weights] = stamp(weights)
    return stamps


def includes(path: Path) -> list[Path]:
    """The files that a file says it includes, whether or not they are there."""
    if not path.is_file():  # a pipe would never end
        return []
    root = read_file(path).root
    listed = root.get("include") if isinstance(root, Mapping) else None
    items = listed.items if isinstance(listed, ListNode) else []
    names = [item.value for item in items if isinstance(item, Scalar)]
    return [Path(os.path.normpath(path.parent / name)) for name in names if isinstance(name, str) and name]


def stamp(path: Path) -> Stamp:
    """Two stamps of a file are equal if nothing was written to it, and nothing else took its name."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


def wait_for_change(stamps: dict[Path, Stamp]) -> None:
    """Return when a file has another stamp, and what is being written has been written."""
    while (now := {path: stamp(path) for path in stamps}) == stamps:
        time.sleep(PERIOD)
    latest = time.monotonic() + PATIENCE
    while time.monotonic() < latest:
        time.sleep(SETTLING)
        before, now = now, {path: stamp(path) for path in stamps}
        if now == before:
            return


# --- output -----------------------------------------------------------------------------------------


def _report(verdict: Verdict, format: str, files: int) -> None:
    """The diagnostics, then the time and the verdict on one line. As JSON all of it is one line."""
    now = datetime.now().astimezone()
    if format == "json":
        report = {"time": now.isoformat(timespec="milliseconds"), **render_json(verdict.found)}
        print(json.dumps(report, ensure_ascii=False), flush=True)
        return
    if format == "text" and sys.stdout.isatty():
        print(CLEAR, end="", flush=True)
    show(verdict, format)
    sys.stderr.flush()
    number = f"{files} file{'s' * (files != 1)}"
    print(f"{now:%H:%M:%S} {verdict_line(verdict)} (watching {number})", flush=True)


def verdict_line(verdict: Verdict) -> str:
    """What one line can say of all files."""
    everything = [d for _, diagnostics in verdict.found for d in diagnostics]
    if everything:
        return count(everything, len(verdict.found))
    if not verdict.found:
        return nothing_checked(verdict)
    if len(verdict.summaries) == 1:
        return verdict.summaries[0]
    return f"{len(verdict.summaries)} files are valid"
