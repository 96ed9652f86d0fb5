"""Generated calls, some absurd, through PyTorch and through netspec: both give the same, or both refuse.

    pip install torch==2.13.0 && python -m tests.layers.fuzz [type ...] --calls 200 --seed 0

Needs torch, so it is a development tool. Prints one line a type, then the smallest example of every
kind of disagreement; the exit status is 1 where there is one.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import logging
import multiprocessing
import re
import sys
import traceback
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import torch

import netspec
from netspec.layers import REGISTRY
from tests.layers import generate as oracle
from tests.layers.generated import CASES, generate
from tests.layers.oracle import Case, families, make_inputs
from tests.layers.test_values import load_case

LACKING = re.compile(r"not implemented for|Could not run|not currently implemented|NYI")
"""What torch says where its CPU build merely has no kernel for a dtype."""

KNOWN = (
    (r"Conv\dd", r"out-of-range: `padding`"),  # torch crops with it in the modes other than zeros
    (r"Linear|Conv.*", r"out-of-range: `(out_features|out_channels)`.*got 0"),
    (r"interpolate|Upsampl.*", r"out-of-range: `(size|scale_factor)`"),  # torch: 0 in mode area alone
    (r"MaxUnpool\dd", r"out-of-range|wrong-length"),  # torch never looks at what output_size replaces
    (r".*Pad\dd", r"wrong-length"),  # torch pads other axes than the name says
    (
        r"CircularPad\dd|pad",
        r"padding-too-large|crop-too-large",
    ),  # torch copies elements that it has not written
    (r"BCEWithLogitsLoss", r"wrong-dtype.*complex"),  # torch takes complex numbers as probabilities
    (r"CrossEntropyLoss|NLLLoss", r".*is outside 0\.\.-1"),  # no classes at all
    (r"einsum", r"dtype: torch u?int.*netspec int64"),  # torch widens only integers that it really adds
    (r"AdaptiveAvgPool\dd", r"wrong-rank"),  # torch: a mean, for an int or a list by turns
    (r"ConvTranspose\dd", r"empty-output|empty-axis"),  # torch: accepted or refused by its choice of kernel
    (r"ConvTranspose\dd", r"out-of-range: `dilation`"),  # 0 is refused in the others
    (r"LocalResponseNorm", r"dtype: torch int64"),  # torch returns an empty input as it is
    (r"prod", r"TypeError: prod"),  # a keepdim at its default is as one that is left out
    (r"PixelUnshuffle", r"shape: torch .*\b0\b"),  # torch returns an empty input as it is
    (r"squeeze|split|chunk", r"symbolic-size"),  # only a symbol can be 0
)
"""Where netspec differs on purpose, as (types, message or difference)."""

FAMILY = {case.type: module for module in families().values() for case in module.CASES}
"""Type -> the module that has its cases."""


@dataclass
class Tally:
    """What became of one type's calls."""

    type: str
    calls: int = 0
    accepted: int = 0
    refused: int = 0
    lacking: int = 0
    known: int = 0
    kinds: dict[str, list[str]] = field(default_factory=lambda: collections.defaultdict(list))

    @property
    def disagreements(self) -> int:
        """How many calls came out differently."""
        return sum(map(len, self.kinds.values()))


def torch_result(case: Case) -> dict[str, np.ndarray] | str:
    """torch's outputs (and its state after training), or the message of its refusal."""
    oracle._BY_CASE[id(case)] = FAMILY[case.type]
    width = torch.empty(0, dtype=getattr(torch, case.dtype)).real.dtype
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.set_default_dtype(width)
            outputs, layer = oracle.call(case, make_inputs(case), case.dtype)
            found = {port: t.detach().resolve_conj().resolve_neg().numpy() for port, t in outputs.items()}
        except Exception as error:
            return f"{type(error).__name__}: {error}".split("\n")[0]
    if case.mode == "train" and layer is not None:
        found |= {f"state:{key}": t.numpy() for key, t in layer.state_dict().items()}
    return found


def netspec_result(case: Case, ports: list[str] | None) -> dict[str, np.ndarray] | str:
    """The same of netspec; a message that starts with `TRACEBACK` is a bug."""
    given = {f"x{i}": a for i, a in enumerate(make_inputs(case))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            net = load_case(case)
            if ports is None:
                ports = list(net._shaped.types[net._graph.nodes[-1].index] or {})
            taps = {port: "layer" if port == "out" else f"layer.{port}" for port in ports}
            found = net.run(given, taps=taps.values())
        except netspec.NetspecError as error:
            first = [d for d in error.diagnostics if d.severity == "error"][:1]
            return f"{first[0].code}: {first[0].message}" if first else f"{type(error).__name__}: {error}"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return (
                f"TRACEBACK {type(error).__name__}: {error} ({place.filename.split('/')[-1]}:{place.lineno})"
            )
        result = {port: found[tap] for port, tap in taps.items()}
        if case.mode == "train":
            result |= {f"state:{k.removeprefix('layer.')}": v for k, v in net.state_dict().items()}
        return result


def is_known(case: Case, message: str) -> bool:
    """Whether netspec differs on purpose."""
    return any(re.fullmatch(types, case.type) and re.match(text, message) for types, text in KNOWN)


def refused_when_full(case: Case, expected: dict[str, np.ndarray], message: str) -> bool:
    """Whether torch accepts the call only because it does not look at an empty tensor."""
    if re.match("wrong-dtype", message) and all(v.size == 0 for v in expected.values()):
        return True
    if all(np.size(a.values) if a.values is not None else np.prod(a.shape) for a in case.inputs):
        return False
    for size in (1, 2, 4):
        full = [
            a if a.values is not None else replace(a, shape=tuple(s or size for s in a.shape))
            for a in case.inputs
        ]
        if not isinstance(torch_result(replace(case, inputs=tuple(full))), str):
            return False
    return True


def random_values(case: Case) -> bool:
    """Whether the call draws numbers, which are not torch's."""
    return case.mode == "train" and ("Dropout" in case.type or case.type == "RReLU")


def difference(case: Case, expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> str | None:
    """How two results differ, in a word and an example; None where they do not."""
    for port, value in expected.items():
        if port not in found:
            return f"port {port} missing"
        actual = np.asarray(found[port])
        if actual.shape != value.shape:
            return f"shape: torch {value.shape}, netspec {actual.shape}"
        if actual.dtype != value.dtype:
            return f"dtype: torch {value.dtype}, netspec {actual.dtype}"
        if random_values(case):
            continue
        tolerance = 1e-9 if value.dtype in (np.float64, np.complex128) else 1e-4
        if value.dtype == np.float16:
            tolerance = 1e-2
        if value.dtype.kind in "biu":
            same = np.array_equal(actual, value)
        else:
            with np.errstate(all="ignore"):
                close = np.isclose(actual, value, rtol=tolerance, atol=tolerance, equal_nan=True)
            if value.dtype.kind == "c":  # which part of an infinite product is NaN is nobody's rule
                close |= ~np.isfinite(actual) & ~np.isfinite(value)
            same = bool(close.all())
        if not same:
            with np.errstate(all="ignore"):
                wrong = ~np.isclose(actual, value, rtol=tolerance, atol=tolerance, equal_nan=True)
            return f"values of {port}: torch {value[wrong][:3]}, netspec {actual[wrong][:3]}"
    return None


def kind_of(message: str) -> str:
    """A message without its numbers."""
    return re.sub(r"\[[^]]*\]|\([^)]*\)|-?\d+(\.\d+)?(e-?\d+)?|x\d", "#", message)[:70]


def describe(case: Case) -> str:
    """The call, short."""
    inputs = ", ".join(
        f"{a.dtype}{list(np.shape(a.values) if a.values is not None else a.shape)}" for a in case.inputs
    )
    after = f" after {case.indices_from}" if case.indices_from else ""
    extras = "".join(f" {x}" for x in (case.mode, case.dtype) if x not in ("eval", "float32"))
    return f"{case.type}({case.parameters}) on {inputs}{extras}{after} [{case.label}]"


def compare(tally: Tally, case: Case) -> None:
    """One call through both."""
    tally.calls += 1
    expected = torch_result(case)
    found = netspec_result(case, ports_of(expected))
    shown = describe(case)
    if isinstance(found, str) and found.startswith("TRACEBACK"):
        tally.kinds[kind_of(found)].append(f"{shown}: torch {brief(expected)}; netspec {found}")
    elif isinstance(expected, str) and isinstance(found, str):
        tally.refused += 1
    elif isinstance(expected, str) and is_known(case, expected):
        tally.known += 1
    elif isinstance(expected, str):
        if LACKING.search(expected):
            tally.lacking += 1
        else:
            tally.kinds["only torch refuses: " + kind_of(expected)].append(f"{shown}: torch {expected}")
    elif isinstance(found, str) and (is_known(case, found) or refused_when_full(case, expected, found)):
        tally.known += 1
    elif isinstance(found, str):
        tally.kinds["only netspec refuses: " + kind_of(found)].append(
            f"{shown}: torch gives {brief(expected)}; netspec {found}"
        )
    elif how := difference(case, expected, found):
        if is_known(case, how):
            tally.known += 1
            return
        tally.kinds[kind_of(how.split(":")[0])].append(f"{shown}: {how}")
    else:
        tally.accepted += 1


def ports_of(result: dict[str, np.ndarray] | str) -> list[str] | None:
    """The outputs among a result's arrays."""
    return None if isinstance(result, str) else [k for k in result if not k.startswith("state:")]


def brief(result: dict[str, np.ndarray] | str) -> str:
    """A result in a few words."""
    return (
        result if isinstance(result, str) else ", ".join(f"{k} {v.dtype}{v.shape}" for k, v in result.items())
    )


def fuzz(job: tuple[str, int, int]) -> Tally:
    """All calls of one type."""
    type_name, calls, seed = job
    torch.set_num_threads(1)
    faulthandler.enable()
    logging.getLogger("netspec").setLevel(logging.ERROR)
    tally = Tally(type_name)
    for number in range(seed * 1_000_000, seed * 1_000_000 + calls):
        case = generate(type_name, number, wild=True)
        if sum(int(np.prod(a.shape)) for a in case.inputs if a.values is None) > 200_000:
            continue
        compare(tally, case)
    tally.kinds = dict(tally.kinds)
    return tally


def main(arguments: list[str]) -> int:
    """Compare; 1 where there is a disagreement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("types", nargs="*", help="default: every registered type that has cases")
    parser.add_argument("--calls", type=int, default=200, help="generated calls for each type")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    types = options.types or [t for t in REGISTRY if t in CASES]
    jobs = [(t, options.calls, options.seed) for t in types]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        tallies = list(pool.imap(fuzz, jobs))
    columns = ("calls", "accepted", "refused", "lacking", "known", "disagreements")
    print(f"{'type':20}" + "".join(f"{column:>14}" for column in columns))
    for t in tallies:
        print(f"{t.type:20}" + "".join(f"{getattr(t, column):14}" for column in columns))
    print(f"{'all':20}" + "".join(f"{sum(getattr(t, column) for t in tallies):14}" for column in columns))
    for t in tallies:
        for kind, examples in sorted(t.kinds.items()):
            print(f"\n{t.type}: {kind} ({len(examples)})\n    {min(examples, key=len)}")
    return int(any(t.kinds for t in tallies))


__all__ = ["fuzz", "main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
