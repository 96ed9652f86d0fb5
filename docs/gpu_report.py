"""Proves and measures the CUDA path on a machine with an NVIDIA GPU: writes docs/gpu.md and docs/gpu.json.

    pip install -e ".[cuda13]" pytest                    # [cuda12] for a driver older than 580
    pip install torch onnx onnxruntime-gpu               # peers of the benchmark: each may be left out
    python docs/gpu_report.py --ledger                   # hours, most of them torch.compile's
    python docs/gpu_report.py --quick                    # a first look
    python docs/gpu_report.py --only conformance --ledger

Conformance (gpu/conformance.py): every layer case, refusal and network of the tests on the device, against torch's
committed values and the CPU's float64; exit code 1 if anything is wrong. Benchmark (gpu/bench.py): seven networks
beside torch eager, torch.compile and ONNX Runtime, against stated targets. `--ledger` also keeps docs/gpu_kernels.md,
the list of what has run on a GPU. Clocks are left as they are.

Without a GPU nothing of the kind is written:

    python docs/gpu_report.py --host --only conformance --quick     # kernels compiled by g++; extra cuda13
    python docs/gpu_report.py --host --ledger                       # the list's host columns
    python docs/gpu_report.py --dry --only bench --quick            # the benchmark's machinery on the CPU
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for tests.* and docs.*

from docs.gpu import bench  # noqa: E402
from docs.gpu.child import Child, Failed, Plain  # noqa: E402
from docs.gpu.contenders import CONTENDERS, KINDS  # noqa: E402
from netspec.backends.cupy.device import DeviceProblem, usable  # noqa: E402
from netspec.cli.run import progress  # noqa: E402
from netspec.interop.files import write_beside  # noqa: E402

OUTPUT = ROOT / "docs" / "gpu"
CHECK_SECONDS = 1200.0
"""Longest that one check is waited for: the first ones compile kernels."""

NO_GPU = {
    "host": "**No GPU was used: the kernels were compiled by g++ and ran on this machine's processor.**",
    "dry": "**No GPU was measured: a dry run on this machine's processor, whose figures mean nothing for one. What is "
    "called TF32 is `precision: high` there, in torch the same as strict.**",
}


# --- the machine ------------------------------------------------------------------------------------


def describe(device: str) -> Callable[[Any], dict[str, str]]:
    """A child that says what the machine is; libraries that are not here are left out."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in ("netspec", "numpy", "cupy", "torch", "onnxruntime"):
        try:
            found[name] = str(import_module(name).__version__)
        except Exception as error:  # any failure to import is an answer
            found[name] = f"none ({type(error).__name__})"
    if device != "cpu":
        index = int(device[5:] or 0)
        try:
            cuda = usable(index).cuda.runtime
        except DeviceProblem as problem:
            raise Plain(f"device {device}: {problem}") from None
        properties = cuda.getDeviceProperties(index)
        found["device"] = properties["name"].decode()
        found["compute capability"] = f"{properties['major']}.{properties['minor']}"
        found["device memory"] = f"{properties['totalGlobalMem'] / 2**30:.1f} GiB"
        found["cuda"] = _version(cuda.runtimeGetVersion())
        found["newest CUDA of the driver"] = _version(cuda.driverGetVersion())
        found["cuDNN"] = _cudnn()
        found["driver, SM clock, its maximum, power limit"] = _smi(index)
        found["clocks"] = "left as they were"
    return lambda _: found


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _cudnn() -> str:
    from netspec.backends.cupy.cudnn import available

    missing = available()
    if missing is not None:
        return f"none: {missing}"
    cudnn: Any = import_module("cudnn")
    return f"{cudnn.backend_version()}, frontend {cudnn.__version__}"


def _smi(index: int) -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown: no nvidia-smi"
    asked = "driver_version,clocks.sm,clocks.max.sm,power.limit"
    command = [tool, f"--id={index}", f"--query-gpu={asked}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip()


def machine(device: str) -> dict[str, str]:
    """What the machine is. Raises `Failed` where there is no such device."""
    child = Child(describe, device, 300)
    try:
        found: dict[str, str] = child.ask(None, 300)
    finally:
        child.close()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return {**found, "commit": commit.stdout.strip() or "unknown"}


def command() -> str:
    """As it was given."""
    return f"python docs/gpu_report.py {shlex.join(sys.argv[1:])}".strip()


# --- the two parts ----------------------------------------------------------------------------------


def conformance(options: argparse.Namespace) -> tuple[dict[str, Any], list[Any]]:
    """The section of the report, and every check with its outcome. Raises `Failed`."""
    from docs.gpu import conformance as checking
    from docs.gpu import ledger
    from docs.gpu.checks import Check

    chosen = [Check(*each) for each in ledger.chosen(ledger.read())]
    todo = checking.checks(options.quick, options.host, chosen)
    with progress("checks", len(todo)) as advance:
        outcomes = checking.run_all(todo, options.device, options.host, CHECK_SECONDS, advance)
    section = {
        "checks": len(todo),
        "lines": [asdict(line) for line in checking.lines(outcomes)],
        "failures": checking.failures(outcomes),
    }
    return section, outcomes


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """The section of the report; rows are printed when they are there."""
    device = "cpu" if options.dry else options.device
    versions, missing = bench.available(device)
    if "netspec" not in versions:
        raise Failed(missing["netspec"])
    for name, why in missing.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    names = [name for name in versions if not options.runtimes or name in options.runtimes]
    networks = [
        title
        for title in (bench.QUICK_NETWORKS if options.quick else bench.NETWORKS)
        if not options.network or any(word.lower() in title.lower() for word in options.network)
    ]
    batches = bench.DRY_BATCHES if options.dry else bench.QUICK_BATCHES if options.quick else bench.BATCHES
    kinds = [kind for kind in KINDS if not (options.dry and kind == "float16")]
    cases = [(title, batch, kind) for title in networks for batch in batches for kind in kinds]
    rounds = bench.QUICK_ROUNDS if options.quick else bench.ROUNDS
    print(bench.head(names), flush=True)
    show = functools.partial(print, flush=True)
    rows = bench.run_all(cases, names, device, 1, rounds, show)
    return {
        "stopped": len(rows) < len(cases),
        "versions": {name: versions[name] for name in names},
        "missing": missing,
        "rows": [asdict(row) for row in rows],
        "table": [bench.head(names), *(bench.line(row, names) for row in rows)],
        "means": bench.means(rows, names),
        "missed": bench.missed(rows),
        "details": bench.details(rows, names),
    }


# --- the report -------------------------------------------------------------------------------------


def conformance_text(section: Mapping[str, Any]) -> str:
    """Its table and what is wrong."""
    lines = [
        f"{section['checks']} checks"
        + (", a quick run" if section["quick"] else "")
        + "; a check has several verdicts.",
        "",
        "| what | verdicts | wrong | largest difference, of what is allowed |",
        "| --- | ---: | ---: | ---: |",
    ]
    for line in section["lines"]:
        largest = "" if line["largest"] is None else f"{line['largest']:.2g}"
        lines.append(f"| {line['part']} | {line['count']} | {line['failed']} | {largest} |")
    failures = section["failures"]
    lines += ["", f"Wrong: {len(failures)}" + (":" if failures else "."), ""]
    return "\n".join([*lines, *(f"- {failure}" for failure in failures)]).rstrip() + "\n"


def benchmark_text(section: Mapping[str, Any]) -> str:
    """Its tables, means and missed targets."""
    runtimes = ", ".join(f"{name} {version}" for name, version in section["versions"].items())
    left_out = [f"{name} is left out: {why}." for name, why in section["missing"].items()]
    lines = [
        f"{runtimes}{', a quick run' if section['quick'] else ''}.",
        *(["**Stopped before all rows were there.**"] if section["stopped"] else []),
        *left_out,
        "",
        "Milliseconds of a call: the median of calls that are waited for (their least) / the median of calls that are",
        "queued. Ratios are a peer's median through netspec's, of both; beyond 1 netspec is faster. TF32 is torch's",
        "default: convolutions may round to it, matrix products not (in ONNX Runtime, whose switch is one, both).",
        "Each peer is in the faster of its settings (the last table).",
        "",
        *section["table"],
        "",
        "Geometric means of the ratios:",
        "",
        *section["means"],
        "",
        section["missed"][0],
        "",
        *(f"- {line}" for line in section["missed"][1:]),
        *([""] if section["missed"][1:] else []),
        "Memory: what the device's driver counts after the first calls, less libraries and context (taken); what the",
        "runtime's own counters say (live: netspec's pool, the peak of torch's allocator in a call). Differences are",
        "from netspec's outputs, as a part of the largest number.",
        "",
        *section["details"],
    ]
    return "\n".join(lines).rstrip() + "\n"


TEXTS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "conformance": ("Is it right", conformance_text),
    "benchmark": ("How fast", benchmark_text),
}


def text(sections: Mapping[str, Any]) -> str:
    """The report."""
    lines = ["# On a GPU", "", "Written by `python docs/gpu_report.py`."]
    for name, (title, write) in TEXTS.items():
        section = sections.get(name)
        if section is None:
            continue
        about = "; ".join(f"{key}: {value}" for key, value in section["machine"].items())
        lines += ["", f"## {title}", "", f"{section['date']}, `{section['command']}`", "", f"{about}.", ""]
        if "no gpu" in section:
            lines += [section["no gpu"], ""]
        lines.append(write(section).rstrip())
    return "\n".join(lines) + "\n"


def keep(output: Path, sections: Mapping[str, Any]) -> None:
    """Both files; a part that was not run now stays as it was."""
    data, page = output.with_name(f"{output.name}.json"), output.with_name(f"{output.name}.md")
    known = json.loads(data.read_text(encoding="utf-8")) if data.exists() else {}
    known.update(sections)
    with write_beside(data) as file:
        file.write((json.dumps(known, indent=1) + "\n").encode())
    with write_beside(page) as file:
        file.write(text(known).encode())


def keep_ledger(outcomes: Sequence[Any], about: Mapping[str, str], host: bool) -> None:
    """docs/gpu_kernels.md: the host's columns, or what has run on the GPU; the other stays."""
    from docs.gpu import ledger

    data, date = ledger.read(), str(datetime.date.today())
    if host:
        said = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=False).stdout
        data["host"] = ledger.host_columns(outcomes, said.splitlines()[0] if said else "g++", date)
        data["compiled"] = ledger.compiled_columns(data["host"]["kernels"], date) or data["compiled"]
    else:
        where = {"date": date, "device": about["device"], "cuda": about["cuda"], "commit": about["commit"]}
        data["gpu"].update(ledger.gpu_records(outcomes, where))
    ledger.write(data)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; those that do not go together are refused."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0", help="cuda:N (default cuda:0)")
    parser.add_argument("--output", type=Path, help="writes OUTPUT.md and OUTPUT.json (default docs/gpu)")
    parser.add_argument("--only", choices=("conformance", "bench"), help="one of the two parts")
    parser.add_argument("--quick", action="store_true", help="some checks; two networks, few rounds")
    parser.add_argument("--ledger", action="store_true", help="also keep docs/gpu_kernels.md")
    parser.add_argument(
        "--host", action="store_true", help="conformance without a GPU, kernels compiled by g++"
    )
    parser.add_argument("--dry", action="store_true", help="benchmark without a GPU, everybody on the CPU")
    parser.add_argument(
        "--network", action="append", default=[], help="benchmark only networks with this in the name"
    )
    parser.add_argument(
        "--runtimes", help="benchmark only these, such as 'torch eager,torch.compile'; netspec always"
    )
    options = parser.parse_args(arguments)
    if options.runtimes is not None:
        options.runtimes = ["netspec", *(name.strip() for name in options.runtimes.split(","))]
        unknown = [name for name in options.runtimes if name not in CONTENDERS]
        if unknown:
            parser.error(f"--runtimes: {unknown[0]} is none of {', '.join(CONTENDERS)}")
    if options.host and (options.dry or options.only == "bench"):
        parser.error("--host has no benchmark; --dry is its rehearsal")
    if options.dry and (options.ledger or options.only == "conformance"):
        parser.error("--dry has no conformance; --host is its rehearsal")
    if (options.host or options.dry) and options.output is not None:
        parser.error("--output is for a run on a GPU: without one the report is printed")
    if options.ledger and (options.only == "bench" or (options.host and options.quick)):
        parser.error("--ledger needs the conformance part, on the host all of it")
    options.output = options.output or OUTPUT
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if anything is wrong, 3 if there is no such device."""
    options = parsed(arguments)
    sections: dict[str, Any] = {}
    outcomes: list[Any] = []
    rehearsal = "host" if options.host else "dry" if options.dry else None
    try:
        about = machine("cpu" if rehearsal else options.device)
        if not options.dry and options.only != "bench":
            sections["conformance"], outcomes = conformance(options)
        if not options.host and options.only != "conformance":
            sections["benchmark"] = benchmark(options)
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 3
    finally:
        for section in sections.values():
            section |= {"date": str(datetime.date.today()), "command": command(), "machine": about,
                        "quick": options.quick}  # fmt: skip
            section |= {} if rehearsal is None else {"no gpu": NO_GPU[rehearsal]}
        if sections and rehearsal is None:
            keep(options.output, sections)
    print("\n" + text(sections) if rehearsal else f"wrote {options.output}.md and {options.output}.json")
    if options.ledger:
        keep_ledger(outcomes, about, options.host)
        print("wrote docs/gpu_kernels.md and docs/gpu_kernels.json")
    wrong = len(sections.get("conformance", {}).get("failures", ()))
    if wrong and not rehearsal:
        print(conformance_text(sections["conformance"]), file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
