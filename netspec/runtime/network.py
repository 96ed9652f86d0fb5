"""`Network`: a valid spec with its weights, planned for each set of input shapes and run many times."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from netspec.analysis import Analysis
from netspec.backends.base import Backend, Context
from netspec.diagnostics import (
    DeviceError,
    Diagnostic,
    InputError,
    WeightsError,
    did_you_mean,
    has_errors,
)
from netspec.graph import Graph, ShapedGraph, TensorRef, infer, select
from netspec.graph.infer import state_key, states_of
from netspec.layers.tensor import COMPLEX, FLOATS
from netspec.network import NetworkSpec
from netspec.program.compile import Program, compile
from netspec.program.executor import Executor, StepError
from netspec.program.memory import Plan, plan
from netspec.report.tables import format_bytes
from netspec.runtime import weights as state_of
from netspec.runtime.bound import BoundLayer
from netspec.runtime.inputs import by_name, check_arrays

log = logging.getLogger("netspec")

_PROGRAMS_KEPT = 16
"""Sets of input shapes whose programs stay in memory."""


class Network:
    """A network that can be called.

    Calls from several threads are safe: each takes its own set of buffers. In train mode they follow one
    another, since they change the running statistics.
    """

    def __init__(
        self,
        analysis: Analysis,
        *,
        weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        device: str = "cpu",
        precision: str = "high",
        threads: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        mode: str = "eval",
    ) -> None:
        """Use `netspec.load`."""
        assert analysis.spec is not None and analysis.graph is not None and analysis.shaped is not None
        self.spec: NetworkSpec = analysis.spec
        self._graph: Graph = analysis.graph
        if mode not in ("eval", "train"):
            raise InputError(f"mode: expected eval or train, got {mode!r}")
        if precision not in ("high", "highest"):
            raise InputError(f"precision: expected high or highest, got {precision!r}")
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise InputError(f"threads: expected an integer >= 1, got {threads!r}")
        self.dtype, self.device, self.precision = analysis.shaped.dtype, device, precision
        self.threads, self.batch_size, self.seed = threads, batch_size, seed
        self.training = mode == "train"
        self._backend = open_backend(device)
        if threads is not None:
            from netspec.backends.numpy.threads import set_blas_threads

            set_blas_threads(threads)
        self._shaped = (
            infer(self._graph, dtype=self.dtype, training=True) if self.training else analysis.shaped
        )
        if has_errors(self._shaped.diagnostics):
            raise InputError("the network does not run in this mode and dtype", self._shaped.diagnostics)
        self._states = states_of(self._shaped)
        self._lock = threading.RLock()
        self._programs: OrderedDict[Any, _Prepared] = OrderedDict()
        self._rng: Any = None
        self.random_weights: tuple[str, ...] = ()
        self._arrays: dict[str, Any] = {}
        self._fill(weights)

    # --- weights ------------------------------------------------------------------------------------

    def _fill(self, weights: str | os.PathLike[str] | Mapping[str, Any] | None) -> None:
        self._need_memory(state_of.total_bytes(self._states, self.dtype), "the network's parameters")
        source = "the given weights"
        given: Mapping[str, Any] | None = None
        if isinstance(weights, Mapping):
            given = {name: _as_array(name, value) for name, value in weights.items()}
        elif weights is not None or self.spec.weights is not None:
            path = (
                Path(weights)
                if weights is not None
                else Path(self.spec._directory or "") / str(self.spec.weights)
            )
            source = str(path)
            from netspec.interop.checkpoints import read_checkpoint

            given = read_checkpoint(path)
        if given is not None:
            difference = state_of.compare(self._states, given)
            if difference:
                raise WeightsError(difference.text(source))
        random = []
        for name, state in self._states.items():
            if given is not None and name in given:
                array = state_of.converted(name, state, given[name], self.dtype)
            else:
                if state_of.is_random(state):
                    random.append(name)
                array = state_of.initial(name, state, self.dtype, self.seed)
            self._arrays[name] = self._backend.asarray(array)
        self.random_weights = tuple(random)
        if random and given is None:
            log.warning(
                "%s runs on random weights (seed %d): no weights were given for %s%s",
                self.spec.name, self.seed, ", ".join(random[:3]), ", ..." if len(random) > 3 else "",
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Every parameter and buffer by torch's name, as NumPy copies."""
        return {name: self._backend.to_numpy(array) for name, array in self._arrays.items()}

    def load_state_dict(self, mapping: Mapping[str, Any], strict: bool = True) -> None:
        """Take weights from a mapping of names to arrays.

        Raises `WeightsError` with the whole difference if names or shapes do not fit; without `strict`
        missing and unexpected names are passed over. Nothing is changed if it raises.
        """
        given = {name: _as_array(name, value) for name, value in mapping.items()}
        difference = state_of.compare(self._states, given)
        if difference.wrong or (strict and difference):
            raise WeightsError(difference.text("the given mapping"))
        self._set_arrays(
            {
                name: state_of.converted(name, self._states[name], array, self.dtype)
                for name, array in given.items()
                if name in self._states
            }
        )

    def _set_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Put arrays in place of the network's; programs bound to the old ones are dropped."""
        with self._lock:
            self._arrays = {**self._arrays, **{n: self._backend.asarray(a) for n, a in arrays.items()}}
            self.random_weights = tuple(n for n in self.random_weights if n not in arrays)
            self._programs.clear()

    def _need_memory(self, needed: int, what: str) -> None:
        available = self._backend.available_bytes()
        if available is not None and needed > available:
            raise DeviceError(
                f"{what} need {format_bytes(needed)}, the {self.device} device has {format_bytes(available)} available"
            )

    # --- modes --------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Network:
        """Training behaviour from now on: batch statistics, dropout."""
        if mode != self.training:
            shaped = infer(self._graph, dtype=self.dtype, training=mode)
            with self._lock:
                self._shaped, self.training = shaped, mode
                self._programs.clear()
        return self

    def eval(self) -> Network:
        """Inference behaviour from now on."""
        return self.train(False)

    def to(self, device: str) -> Network:
        """Move the network to a device ("cpu")."""
        backend = open_backend(device)
        with self._lock:
            self._arrays = {n: backend.asarray(self._backend.to_numpy(a)) for n, a in self._arrays.items()}
            self._backend, self.device = backend, device
            self._programs.clear()
        return self

    # --- running ------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run: inputs by position, by keyword, or as one dict.

        Returns the array if the network has one output, else a dict by output name.
        """
        outputs = self.run(by_name(self._graph, args, kwargs))
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        return outputs

    def run(
        self,
        inputs: Mapping[str, Any],
        taps: Iterable[str] = (),
        outputs: Iterable[str] | None = None,
    ) -> dict[str, Any]:
        """Outputs (and tapped layers) by name, as fresh NumPy arrays.

        taps: further tensors by reference (`conv1`, `pool1.indices`); outputs: only these of the
        network's outputs. Inputs that nothing asked for needs may be left out. Raises `InputError`.
        """
        given = by_name(self._graph, [dict(inputs)], {})
        wanted = self.wanted(taps, outputs)
        _, needed = select(self._graph, wanted)
        arrays = check_arrays(self._graph, given, needed, self.dtype)
        key = (tuple((n, tuple(a.shape)) for n, a in arrays.items()), tuple(wanted.items()))
        if not self.training:
            return self._run(key, arrays, wanted, None)
        with self._lock:
            return self._run(key, arrays, wanted, self._generator())

    def _run(
        self, key: Any, arrays: dict[str, Any], wanted: dict[str, TensorRef], rng: Any
    ) -> dict[str, Any]:
        with self._lock:
            prepared = self._programs.get(key)
            if prepared is None:
                prepared = self._programs[key] = self._prepare(key[0], wanted)
                while len(self._programs) > _PROGRAMS_KEPT:
                    self._programs.popitem(last=False)
            self._programs.move_to_end(key)
            executor = prepared.idle.pop() if prepared.idle else None
            if executor is None:
                self._need_memory(prepared.plan.total_bytes, "the network's activations")
                context = Context(threads=self.threads, precision=self.precision)
                executor = Executor(prepared.program, self._backend, self._arrays, context, prepared.plan)
        try:
            found = executor.run(arrays, rng)
            results = {name: self._backend.to_numpy(array) for name, array in found.items()}
            for name, array in executor.updates.items():
                self._arrays[name][...] = array
        except StepError as error:
            raise InputError(f"layer {error.layer}: {error}") from None
        finally:
            with self._lock:
                prepared.idle.append(executor)
        return results

    def _prepare(
        self, shapes: Sequence[tuple[str, tuple[int, ...]]], wanted: dict[str, TensorRef]
    ) -> _Prepared:
        """The program for these input shapes; raises `InputError` where a layer refuses them."""
        shaped = self.shaped(dict(shapes))
        needed, _ = select(self._graph, wanted)
        refused = [i for i in needed if shaped.types[i] is None]
        if refused:
            found = [d for d in shaped.diagnostics if d.severity == "error"]
            sizes = ", ".join(f"{n} {list(s)}" for n, s in shapes)
            raise InputError(f"the network does not take {sizes}", found)
        program = compile(shaped, wanted, self.training)
        return _Prepared(program, plan(program))

    def shaped(self, sizes: Mapping[str, tuple[int, ...]]) -> ShapedGraph:
        """The graph with the types that inputs of these shapes give."""
        return infer(self._graph, dtype=self.dtype, training=self.training, sizes=sizes)

    def wanted(self, taps: Iterable[str] = (), outputs: Iterable[str] | None = None) -> dict[str, TensorRef]:
        """The tensors asked for, by name; raises `InputError` for a name that means nothing."""
        wanted: dict[str, TensorRef] = {}
        for name in self._graph.outputs if outputs is None else outputs:
            if name not in self._graph.outputs:
                raise InputError(
                    f"the network has no output `{name}`; "
                    + (
                        did_you_mean(name, self._graph.outputs)
                        or f"the outputs are {', '.join(self._graph.outputs)}"
                    )
                )
            wanted[name] = self._graph.outputs[name]
        for tap in taps:
            wanted[tap] = self.tensor(tap)
        return wanted

    def tensor(self, name: str) -> TensorRef:
        """The tensor that a full reference means: an input, a layer, a group, or a port of a layer."""
        if name in self._graph.inputs:
            return TensorRef(-1, name)
        if name in self._graph.groups:
            return self._graph.groups[name][0]
        head, _, port = name.rpartition(".")
        for node in self._graph.nodes:
            types = self._shaped.types[node.index] or {}
            if node.path == name:
                return TensorRef(node.index, next(iter(types), "out"))
            if node.path == head and port in types:
                return TensorRef(node.index, port)
        known = [n.path for n in self._graph.nodes]
        raise InputError(
            f"there is no layer `{name}` to tap; "
            + (did_you_mean(name, known) or f"there are {', '.join(known[:12])}")
        )

    def _generator(self) -> Any:
        if self._rng is None:
            import numpy as np

            self._rng = np.random.default_rng(self.seed)
        return self._rng

    # --- layers -------------------------------------------------------------------------------------

    def children(self) -> Iterator[BoundLayer]:
        """The network's entries in order, as bound layers."""
        seen: set[str] = set()
        for node in self._graph.nodes:
            name = node.path.split(".")[0]
            if name not in seen:
                seen.add(name)
                yield BoundLayer(self, name)

    def __getitem__(self, name: str) -> BoundLayer:
        """The layer or group of this full name."""
        if any(n.path == name or n.path.startswith(name + ".") for n in self._graph.nodes):
            return BoundLayer(self, name)
        known = [n.path for n in self._graph.nodes]
        raise KeyError(did_you_mean(name, known) or f"no layer {name}")

    def __getattr__(self, name: str) -> BoundLayer:
        if name.startswith("_") or "_graph" not in self.__dict__:
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"the network has no attribute or layer {name!r}: {error.args[0]}") from None

    def summary(self) -> str:
        """The table of `netspec shapes`, as text."""
        from netspec.report.shapes import report_of, table

        return table(report_of(self._shaped))

    def __repr__(self) -> str:
        return f"<netspec.Network {self.spec.name}: {len(self._graph.nodes)} layers on {self.device}, {self.dtype}>"


class _Prepared:
    """A program with the executors that are not running at the moment."""

    def __init__(self, program: Program, planned: Plan) -> None:
        self.program = program
        self.plan = planned
        self.idle: list[Executor] = []


def open_backend(device: str) -> Backend:
    """The backend of a device. Raises `DeviceError` if the machine has none such."""
    if device == "cpu":
        from netspec.backends.numpy.backend import NumpyBackend

        return NumpyBackend()
    if device == "cuda" or device.startswith("cuda:"):
        raise DeviceError(f"device {device}: this version of netspec has no CUDA backend; use --device cpu")
    raise InputError(f"device: expected cpu, cuda or cuda:N, got {device!r}")


def check_dtype(dtype: str) -> str:
    """A dtype that a network can run in. Raises `InputError`."""
    if dtype not in (*FLOATS, *COMPLEX):
        raise InputError(f"dtype: expected one of {', '.join((*FLOATS, *COMPLEX))}, got {dtype!r}")
    return dtype


def _as_array(name: str, value: Any) -> Any:
    import numpy as np

    array = value if hasattr(value, "dtype") and hasattr(value, "shape") else np.asarray(value)
    return (
        array
        if isinstance(array, np.ndarray) or hasattr(array, "__cuda_array_interface__")
        else np.asarray(array)
    )


__all__ = ["Diagnostic", "Network", "open_backend", "state_key"]
