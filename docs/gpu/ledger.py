"""The list of every kernel and what it has run on: gpu_kernels.json, and gpu_kernels.md, which is written from it.

Part of `gpu_report.py`. A kernel is listed for each element type that some check starts it with, and once without
a type where none starts it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from docs.gpu.watch import PIECES
from netspec.backends.cupy import source
from netspec.backends.cupy.arguments import DTYPES
from netspec.backends.cupy.device import COMPILED_WITH
from netspec.interop.files import write_beside

HERE = Path(__file__).parent.parent
DATA = HERE / "gpu_kernels.json"
LIST = HERE / "gpu_kernels.md"
ARCHITECTURES = ("sm_75", "sm_90")
NEVER = "never"

CASES = ("case", "narrow", "strict")
"""Groups of checks of single layers; the others are of networks."""

Data = dict[str, Any]


def read() -> Data:
    """What is known; nothing where there is no file."""
    if not DATA.exists():
        return {"host": {}, "compiled": {}, "gpu": {}}
    data: Data = json.loads(DATA.read_text(encoding="utf-8"))
    return data


def write(data: Data) -> None:
    """Both files."""
    with write_beside(DATA) as file:
        file.write(_lines(data).encode())
    with write_beside(LIST) as file:
        file.write(render(data).encode())


def _lines(data: Data) -> str:
    """JSON with a line for each kernel, so that changes of it can be read."""

    def table(values: Mapping[str, Any], indent: str) -> str:
        rows = [f"{indent} {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(values.items())]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}" if rows else "{}"

    parts = [f' "gpu": {table(data["gpu"], " ")}']
    for name in ("host", "compiled"):
        about = "".join(
            f'"{key}": {json.dumps(data[name][key])}, ' for key in ("date", "compiler") if key in data[name]
        )
        parts.append(f' "{name}": {{{about}"kernels": {table(data[name].get("kernels", {}), " ")}}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


@functools.cache
def digest(key: str) -> str:
    """Of the source that a kernel for one type is compiled from: what has run is that, not what comes later."""
    name, dtype = key.split()
    return hashlib.sha256(source.text(source.kernels()[name][0], dtype).encode()).hexdigest()[:16]


# --- what a run tells -------------------------------------------------------------------------------


def host_columns(outcomes: Iterable[tuple[Any, Any]], compiler: str, date: str) -> Data:
    """Kernel and type -> in how many checks it was started here, and one of these that is quick."""
    counts: dict[str, dict[str, int]] = {}
    ran: dict[str, list[tuple[float, tuple[str, str, str]]]] = {}
    for check, outcome in outcomes:
        if any(finding.error is not None for finding in outcome.findings):
            continue  # what came out was wrong: it does not count
        for key in outcome.started:
            if key in PIECES:
                continue
            count = counts.setdefault(key, {"cases": 0, "networks": 0})
            count["cases" if check.group in CASES else "networks"] += 1
            ran.setdefault(key, []).append((outcome.seconds, (check.group, check.kind, check.name)))
    chosen: dict[str, tuple[str, str, str]] = {}
    for key in sorted(
        ran, key=lambda key: (len(ran[key]), key)
    ):  # the rarest first: its check may do for others
        known = set(chosen.values())
        chosen[key] = min(ran[key], key=lambda each: (each[1] not in known, each))[1]
    kernels = {key: {**counts[key], "check": list(chosen[key])} for key in sorted(counts)}
    return {"date": date, "compiler": compiler, "kernels": kernels}


def gpu_records(outcomes: Iterable[tuple[Any, Any]], machine: Mapping[str, str]) -> Data:
    """Kernel and type, or piece -> where and when it ran, in how many checks, and how many of them failed."""
    found: Data = {}
    for check, outcome in outcomes:
        failed = any(finding.error is not None for finding in outcome.findings)
        for key in outcome.started:
            record = found.setdefault(key, {**machine, "checks": 0, "failed": 0})
            record["checks"] += 1
            record["failed"] += failed
            if failed:
                record.setdefault("first failure", check.title)
    for key, record in found.items():
        if key not in PIECES:
            record["source"] = digest(key)
    return found


# --- compiling --------------------------------------------------------------------------------------


def compiled_columns(keys: Iterable[str], date: str) -> Data:
    """Kernel and type -> architecture -> whether machine code with it came out, by NVRTC or else nvcc."""
    compile, said = compiler()
    if compile is None:
        return {}
    units: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        name, dtype = key.split()
        units.setdefault((source.kernels()[name][0], dtype), []).append(name)
    jobs = [(unit, dtype, architecture) for unit, dtype in units for architecture in ARCHITECTURES]
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda job: compile(source.text(*job[:2]), job[2]), jobs)
    kernels: dict[str, dict[str, bool]] = {}
    for (unit, dtype, architecture), code in zip(jobs, made, strict=True):
        for name in units[unit, dtype]:
            good = code[:4] == b"\x7fELF" and name.encode() in code
            kernels.setdefault(f"{name} {dtype}", {})[architecture] = good
    return {"date": date, "compiler": said, "kernels": kernels}


Compile = Callable[[str, str], bytes]
"""(source, architecture) -> machine code, empty where it does not compile."""


def compiler() -> tuple[Compile | None, str]:
    """What compiles, and its name: NVRTC, with which CuPy compiles too, else nvcc, else nothing."""
    try:
        from cupy.cuda import nvrtc

        version = ".".join(map(str, nvrtc.getVersion()))
    except Exception:  # no CuPy, or the loader's own kinds of error
        version = ""
    if version:
        return _by_nvrtc, f"NVRTC {version}"
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None, ""
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    release = next((word for word in said.split() if word.startswith("V")), "")
    return functools.partial(_by_nvcc, nvcc), f"nvcc {release[1:]}"


def _by_nvrtc(text: str, architecture: str) -> bytes:
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(text, "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={architecture}", *COMPILED_WITH))
        return bytes(nvrtc.getCUBIN(program))
    except nvrtc.NVRTCError:
        return b""
    finally:
        nvrtc.destroyProgram(program)


def _by_nvcc(nvcc: str, text: str, architecture: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        written, made = Path(folder, "kernels.cu"), Path(folder, "kernels.cubin")
        written.write_text(text, encoding="utf-8")
        command = [nvcc, "-std=c++17", f"-arch={architecture}", "-cubin", "-o", str(made), str(written)]
        subprocess.run(command, capture_output=True, check=False)
        return made.read_bytes() if made.exists() else b""


# --- the list ---------------------------------------------------------------------------------------


def rows(data: Data) -> list[tuple[str, str]]:
    """Every kernel with every type that it was started with anywhere; "" where it never was."""
    started = {*data["host"].get("kernels", {}), *(key for key in data["gpu"] if key not in PIECES)}
    found = []
    for name in sorted(source.kernels(), key=lambda name: (source.kernels()[name][0], name)):
        found += [(name, dtype) for dtype in DTYPES if f"{name} {dtype}" in started] or [(name, "")]
    return found


def ran_on(record: Mapping[str, Any] | None, key: str) -> str:
    """The last column."""
    if record is None:
        return NEVER
    said = f"{record['date']}, {record['device']}, CUDA {record['cuda']}"
    if record["failed"]:
        said += f": {record['failed']} of {record['checks']} checks failed, first {record['first failure']}"
    if "source" in record and record["source"] != digest(key):
        said += "; its source has changed since"
    return said.replace("|", "\\|")


def render(data: Data) -> str:
    """gpu_kernels.md."""
    host, compiled, gpu = data["host"], data["compiled"], data["gpu"]
    listed = rows(data)
    lonely = [name for name, dtype in listed if not dtype]
    on_gpu = [key for name, dtype in listed if (key := f"{name} {dtype}") in gpu]
    typed = sum(bool(dtype) for _, dtype in listed)
    lines = [
        "# What has run on a GPU",
        "",
        "Written by `python docs/gpu_report.py --ledger` (on a machine with a GPU) and `--ledger --host` (without",
        "one); from `gpu_kernels.json`, not by hand.",
        "",
        f"{len(source.kernels())} kernels, {typed} with their element types. **Run on a GPU: {len(on_gpu)} of {typed}"
        + (".** Nothing below has ever run on a GPU." if not gpu else ".**"),
        "",
        f"*cases* and *networks*: in how many checks of `docs/gpu/conformance.py` the kernel was started, compiled"
        f" for the host by {host.get('compiler', 'nothing yet')}, and the values were right"
        + (f" ({host['date']})" if "date" in host else "")
        + ". These run the kernels' arithmetic on a processor, one thread after another: they prove nothing about"
        " threads, memory or speed of a GPU.",
        f"*{'*, *'.join(ARCHITECTURES)}*: whether it compiles to machine code for that architecture, by "
        f"{compiled.get('compiler', 'nothing yet')}"
        + (f" ({compiled['date']})" if "date" in compiled else "")
        + ".",
        "*run on a GPU*: the last run of the same checks on a GPU.",
        "",
        "Kernels that no check starts: " + (", ".join(f"`{name}`" for name in lonely) or "none") + ".",
        "",
        f"| kernel | source | type | cases | networks | {' | '.join(ARCHITECTURES)} | run on a GPU |",
        "| --- | --- | --- | ---: | ---: |" + " --- |" * len(ARCHITECTURES) + " --- |",
    ]
    for name, dtype in listed:
        key = f"{name} {dtype}"
        counts = host.get("kernels", {}).get(key, {})
        made = compiled.get("kernels", {}).get(key, {})
        cells = [
            f"`{name}`", f"{source.kernels()[name][0]}.cu", dtype or "started by no check",
            str(counts.get("cases", 0)), str(counts.get("networks", 0)),
            *({True: "yes", False: "**no**", None: ""}[made.get(each)] for each in ARCHITECTURES),
            ran_on(gpu.get(key), key) if dtype else NEVER,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "## What only a driver can do",
        "",
        "Nothing of this runs on a machine without a GPU: the tests put something else in its place.",
        "",
        "| piece | where | run on a GPU |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {piece} | {where} | {ran_on(gpu.get(piece), piece)} |" for piece, where in PIECES.items()]
    return "\n".join(lines) + "\n"


def chosen(data: Data) -> Sequence[tuple[str, str, str]]:
    """(group, kind, name) of checks that start every kernel with every type, each once."""
    found = (tuple(each["check"]) for each in data["host"].get("kernels", {}).values())
    return list(dict.fromkeys(found))
