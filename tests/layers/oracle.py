"""Cases of layers against PyTorch: what a case is, and the numbers that both sides start from.

`cases/*.py` list the cases; `generate.py` (which needs torch, and is not run by the tests) writes
torch's outputs beside them as `golden/*.zip` and checks that torch refuses every rejection;
`test_values.py` compares netspec with them.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FAMILIES_PACKAGE = "tests.layers.cases"


@dataclass(frozen=True)
class Arg:
    """One input tensor: numbers drawn from the case's seed, or literal `values`.

    kind: "normal", "unit" (0 to 1), "positive", "integers" (0 to below `high`), "ties" (few distinct
    values, so that equal ones meet), "special" (NaN and infinities among normal values).
    """

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    kind: str = "normal"
    high: int = 10
    values: Any = None


@dataclass(frozen=True)
class Case:
    """One layer with its parameters, called on inputs; expected: torch's outputs.

    indices_from: for MaxUnpool, (pool type, its parameters): the input goes through that pool first.
    tolerance: relative and absolute, on top of equality of shape and dtype.
    """

    type: str
    parameters: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Arg, ...] = (Arg((2, 3)),)
    mode: str = "eval"
    dtype: str = "float32"
    tolerance: float = 2e-5
    indices_from: tuple[str, dict[str, Any]] | None = None
    label: str = ""

    @property
    def id(self) -> str:
        """Readable and unique: the key of the golden arrays."""
        parameters = ",".join(f"{k}={v}" for k, v in self.parameters.items())
        inputs = ";".join(
            f"{'x'.join(map(str, a.shape)) if a.values is None else 'literal'}"
            f"{'' if a.dtype == 'float32' else ':' + a.dtype}{'' if a.kind == 'normal' else ':' + a.kind}"
            for a in self.inputs
        )
        extras = "".join(
            f" {x}" for x in (self.label, self.mode if self.mode != "eval" else "",
                              self.dtype if self.dtype != "float32" else "") if x
        )  # fmt: skip
        pool = f" after {self.indices_from[0]}({self.indices_from[1]})" if self.indices_from else ""
        return f"{self.type}({parameters}) on {inputs}{extras}{pool}"


@dataclass(frozen=True)
class Rejection:
    """Parameters or inputs that torch refuses (when building or calling), and so must netspec.

    code: the diagnostic's code; parameter: the one it must point at, where it has one.
    construct_only: torch accepts the construction and fails at the call, or the other way round: the
    generator tries both in turn.
    """

    type: str
    parameters: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Arg, ...] = (Arg((2, 3)),)
    mode: str = "eval"
    code: str | None = None
    parameter: str | None = None
    label: str = ""

    @property
    def id(self) -> str:
        """Readable and unique."""
        return "refused " + Case(self.type, self.parameters, self.inputs, self.mode, label=self.label).id


def families() -> dict[str, Any]:
    """Family name -> its module of cases."""
    package = importlib.import_module(FAMILIES_PACKAGE)
    return {
        info.name: importlib.import_module(f"{FAMILIES_PACKAGE}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
    }


def make_inputs(case: Case | Rejection) -> list[np.ndarray]:
    """The case's input arrays: the same on every machine (RandomState's stream is frozen)."""
    rng = np.random.RandomState(sum(map(ord, case.type)) + 7 * len(case.inputs))
    return [_array(rng, arg) for arg in case.inputs]


def _array(rng: np.random.RandomState, arg: Arg) -> np.ndarray:
    if arg.values is not None:
        return np.array(arg.values, dtype=arg.dtype)
    if arg.kind == "integers" or arg.dtype.startswith(("int", "uint")):
        return np.asarray(rng.randint(0, arg.high, arg.shape)).astype(arg.dtype)
    if arg.dtype == "bool":
        return np.asarray(rng.randint(0, 2, arg.shape)).astype(bool)
    values = np.asarray(rng.standard_normal(arg.shape))
    if arg.dtype.startswith("complex"):
        values = values + 1j * np.asarray(rng.standard_normal(arg.shape))
    if arg.kind == "unit":
        values = np.asarray(rng.uniform(0.01, 0.99, arg.shape))
    elif arg.kind == "positive":
        values = np.abs(values) + 0.1
    elif arg.kind == "ties":
        values = np.asarray(rng.randint(0, 3, arg.shape)).astype(float)
    elif arg.kind == "special":
        flat = values.reshape(-1)
        flat[::5] = np.nan
        flat[1::7] = np.inf
        flat[2::11] = -np.inf
    return values.astype(arg.dtype)


def make_state(shapes: dict[str, tuple[int, ...]], dtype: str) -> dict[str, np.ndarray]:
    """Weights of a layer, drawn in the order of their names; variances positive, counters 0."""
    rng = np.random.RandomState(12345)
    state = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name == "num_batches_tracked":
            state[name] = np.array(0, dtype=np.int64)
            continue
        values = np.asarray(rng.standard_normal(shape)) * 0.5
        if name == "running_var":
            values = np.abs(values) + 0.5
        if dtype.startswith("complex"):
            values = values + 0.5j * np.asarray(rng.standard_normal(shape))
        state[name] = values.astype(dtype)
    return state
