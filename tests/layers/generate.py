"""Write torch's outputs for every case to `golden/`, and check that torch refuses every rejection.

    pip install torch==2.13.0 && python -m tests.layers.generate [family ...]

Needs torch, so it is a development tool; the tests only read what it wrote.
"""

from __future__ import annotations

import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.layers.oracle import Arg, Case, Rejection, families, make_inputs, make_state

GOLDEN = Path(__file__).parent / "golden"


def tuples(value: Any) -> Any:
    """YAML's lists as torch's tuples."""
    return tuple(tuples(v) for v in value) if isinstance(value, list) else value


def call(case: Case | Rejection, arrays: list[np.ndarray], dtype: str) -> tuple[dict[str, Any], Any]:
    """Outputs by port, and the module where there is one."""
    adapters = getattr(families_of(case), "TORCH", {})
    tensors = [torch.from_numpy(np.ascontiguousarray(a).reshape(a.shape)) for a in arrays]
    if case.type in adapters:
        return ports(adapters[case.type](case, tensors)), None
    parameters = {k: tuples(v) for k, v in case.parameters.items() if k not in ("init", "output_size_call")}
    extra = {}
    if case.type.startswith(("ConvTranspose", "MaxUnpool")) and "output_size" in parameters:
        extra["output_size"] = list(parameters.pop("output_size"))
    for key in ("weight", "pos_weight"):
        if key in parameters and case.type.endswith("Loss"):
            parameters[key] = torch.tensor(parameters[key], dtype=getattr(torch, dtype))
    module = getattr(torch.nn, case.type)(**parameters)
    if dtype != "float32":
        module = module.to(getattr(torch, dtype))
    shapes = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    state = {k: torch.from_numpy(v) for k, v in make_state(shapes, dtype).items()}
    if not case.type.endswith("Loss"):
        module.load_state_dict(state)
    module.train(case.mode == "train")
    if getattr(case, "indices_from", None):
        pool, options = case.indices_from
        pooled, indices = getattr(torch.nn, pool)(
            return_indices=True, **{k: tuples(v) for k, v in options.items()}
        )(tensors[0])
        tensors = [pooled, indices]
    return ports(module(*tensors, **extra)), module


def ports(result: Any) -> dict[str, Any]:
    """Outputs by the port's name."""
    if isinstance(result, torch.Tensor):
        return {"out": result}
    if isinstance(result, tuple) and len(result) == 2 and not isinstance(result, list):
        return {"out": result[0], "indices": result[1]}
    return {str(i): r for i, r in enumerate(result)}


_BY_CASE: dict[int, Any] = {}


def families_of(case: Any) -> Any:
    """The module that lists the case."""
    return _BY_CASE[id(case)]


def main(names: list[str]) -> int:
    """Generate the named families (all without names); 1 if torch disagrees with a table."""
    failures = 0
    GOLDEN.mkdir(exist_ok=True)
    for family, module in families().items():
        if names and family not in names:
            continue
        arrays: dict[str, np.ndarray] = {}
        for case in module.CASES:
            _BY_CASE[id(case)] = module
            if case.id in arrays or any(k.startswith(case.id + "|") for k in arrays):
                print(f"{family}: two cases are called {case.id}")
                failures += 1
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                try:
                    outputs, layer = call(case, make_inputs(case), case.dtype)
                except Exception as error:
                    print(f"{family}: torch refuses {case.id}: {error}")
                    failures += 1
                    continue
            for port, tensor in outputs.items():
                arrays[f"{case.id}|{port}"] = tensor.detach().resolve_conj().numpy()
            if case.mode == "train" and layer is not None:
                for key, tensor in layer.state_dict().items():
                    arrays[f"{case.id}|state:{key}"] = tensor.numpy()
        for case in module.REJECTIONS:
            _BY_CASE[id(case)] = module
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                try:
                    call(case, make_inputs(case), "float32")
                except Exception:
                    continue
            print(f"{family}: torch accepts {case.id}")
            failures += 1
        write(GOLDEN / f"{family}.zip", arrays)
        print(f"{family}: {len(module.CASES)} cases, {len(module.REJECTIONS)} rejections")
    return int(failures > 0)


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """All arrays in one buffer with an index: thousands of small ones would be mostly headers otherwise."""
    index = "\n".join(f"{key}\t{a.dtype.str}\t{','.join(map(str, a.shape))}" for key, a in arrays.items())
    data = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    # Fixed time stamps, so that the same values give the same bytes.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("index.txt"), index, zipfile.ZIP_DEFLATED, 9)
        file.writestr(zipfile.ZipInfo("data.bin"), data, zipfile.ZIP_DEFLATED, 9)


__all__ = ["Arg", "main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
