"""`Network`: a valid spec with its weights, planned for each set of input shapes and run many times."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netspec.analysis import Analysis, analyse_mapping
from netspec.backends.base import Context, from_device, is_on_device
from netspec.diagnostics import (
    DeviceError,
    Diagnostic,
    InputError,
    SpecError,
    WeightsError,
    did_you_mean,
    has_errors,
)
from netspec.graph import Graph, ShapedGraph, TensorRef, infer, select
from netspec.graph.infer import state_key, states_of
from netspec.interop.fitting import fitted
from netspec.layers.base import Layer, State
from netspec.layers.tensor import COMPLEX, FLOATS, NARROW
from netspec.network import NetworkSpec
from netspec.program.compile import Program, compile
from netspec.program.executor import Executor, StepError
from netspec.program.layout import channels_last
from netspec.program.memory import Plan, plan
from netspec.program.narrowing import narrowed
from netspec.program.optimize import optimize
from netspec.report.tables import format_bytes
from netspec.runtime import editing
from netspec.runtime import weights as state_of
from netspec.runtime.bound import BoundLayer
from netspec.runtime.devices import device_error, open_backend, working_on
from netspec.runtime.inputs import by_name, check_arrays, check_sizes
from netspec.runtime.profile import Cuda

log = logging.getLogger("netspec")

_PROGRAMS_KEPT = 16
"""Sets of input shapes whose programs stay in memory."""


@dataclass(frozen=True, eq=False)
class _Model:
    """What a network is at one moment; an edit puts a whole new one in its place.

    arrays are by state-dict key; programs by input shapes and outputs, filled as they are needed;
    prepared holds weights in the forms that kernels read; needed, the inputs of the tensors asked for.
    """

    spec: NetworkSpec
    graph: Graph
    shaped: ShapedGraph
    states: dict[str, State]
    arrays: dict[str, Any]
    random: tuple[str, ...]
    programs: OrderedDict[Any, _Prepared] = field(default_factory=OrderedDict)
    prepared: dict[Hashable, Any] = field(default_factory=dict)
    needed: dict[tuple[tuple[str, TensorRef], ...], tuple[str, ...]] = field(default_factory=dict)


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
        kept_as: str | None = None,
        precision: str = "high",
        threads: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        mode: str = "eval",
        jit: bool = False,
        autotune: bool = False,
        cuda: Cuda = Cuda(),  # noqa: B008  (frozen)
    ) -> None:
        """Use `netspec.load`. kept_as: a narrower dtype of what is computed between float32 inputs and outputs."""
        assert analysis.spec is not None and analysis.graph is not None and analysis.shaped is not None
        if mode not in ("eval", "train"):
            raise InputError(f"mode: expected eval or train, got {mode!r}")
        if not isinstance(seed, int) or seed < 0:
            raise InputError(f"seed: expected an integer >= 0, got {seed!r}")
        if precision not in ("high", "highest"):
            raise InputError(f"precision: expected high or highest, got {precision!r}")
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise InputError(f"threads: expected an integer >= 1, got {threads!r}")
        for name, value in (("jit", jit), ("autotune", autotune)):
            if not isinstance(value, bool):
                raise InputError(f"{name}: expected true or false, got {value!r}")
        if jit:
            from netspec.backends.numpy.jit.compiler import available

            if not available():
                raise DeviceError(
                    'compiled kernels (jit) need Numba, which is not installed: pip install "netspec-runner[jit]"'
                )
        self.jit, self.autotune = jit, autotune
        self.dtype, self.device, self.precision = analysis.shaped.dtype, device, precision
        self.threads, self.batch_size, self.seed = threads, batch_size, seed
        self.training = mode == "train"
        self.cuda = cuda
        self.kept_as = kept_as
        self._backend = open_backend(device, cuda, kept_as)
        shaped = infer(analysis.graph, dtype=self.dtype, training=True) if self.training else analysis.shaped
        if has_errors(shaped.diagnostics):
            raise InputError("the network does not run in this mode and dtype", shaped.diagnostics)
        self._lock = threading.RLock()
        self._rng: Any = None
        given, source = self._given(analysis.spec, weights)
        self._model = self._filled(analysis.spec, analysis.graph, shaped, given, source)
        if self._model.random and given is None:
            shown = ", ".join(self._model.random[:3]) + (", ..." if len(self._model.random) > 3 else "")
            log.warning(
                "%s runs on random weights (seed %d): no weights were given for %s",
                self.spec.name,
                seed,
                shown,
            )

    # The parts of the model of this moment. A method that looks twice takes the model once.

    @property
    def spec(self) -> NetworkSpec:
        """The validated network."""
        return self._model.spec

    @property
    def random_weights(self) -> tuple[str, ...]:
        """Names of the parameters that hold drawn numbers."""
        return self._model.random

    @property
    def _graph(self) -> Graph:
        return self._model.graph

    @property
    def _shaped(self) -> ShapedGraph:
        return self._model.shaped

    @property
    def _states(self) -> dict[str, State]:
        return self._model.states

    @property
    def _arrays(self) -> dict[str, Any]:
        return self._model.arrays

    # --- weights ------------------------------------------------------------------------------------

    def _given(
        self, spec: NetworkSpec, weights: str | os.PathLike[str] | Mapping[str, Any] | None
    ) -> tuple[Mapping[str, Any] | None, str]:
        """The arrays to start with, and where they are from."""
        if isinstance(weights, Mapping):
            return {name: _as_array(name, value) for name, value in weights.items()}, "the given weights"
        if weights is None and spec.weights is None:
            return None, ""
        path = Path(weights) if weights is not None else Path(spec._directory or "") / str(spec.weights)
        from netspec.interop.checkpoints import read_checkpoint

        return read_checkpoint(path), str(path)

    def _filled(
        self,
        spec: NetworkSpec,
        graph: Graph,
        shaped: ShapedGraph,
        given: Mapping[str, Any] | None,
        source: str,
        strict: bool = True,
    ) -> _Model:
        """The model with every array given or drawn. Raises `WeightsError`, `DeviceError`."""
        states = states_of(shaped)
        self._need_memory(state_of.total_bytes(states, self.dtype), "the network's parameters")
        if given is not None and strict:
            given = fitted(states, given, graph, source)
            difference = state_of.compare(states, given)
            if difference:
                raise WeightsError(difference.text(source))
        arrays: dict[str, Any] = {}
        random = []
        for name, state in states.items():
            if given is not None and name in given:
                array = state_of.converted(name, state, given[name], self.dtype)
            else:
                if state_of.is_random(state):
                    random.append(name)
                array = state_of.initial(name, state, self.dtype, self.seed)
            with working_on(self._backend, self.device):
                arrays[name] = self._backend.asarray(array)
        return _Model(spec, graph, shaped, states, arrays, tuple(random))

    def state_dict(self) -> dict[str, Any]:
        """Every parameter and buffer by torch's name, as NumPy copies."""
        with working_on(self._backend, self.device):
            return {name: self._backend.to_numpy(array) for name, array in self._arrays.items()}

    def load_state_dict(self, mapping: Mapping[str, Any], strict: bool = True) -> None:
        """Take weights from a mapping of names to arrays.

        Raises `WeightsError` with the whole difference if names or shapes do not fit; without `strict`
        missing and unexpected names are passed over. Nothing is changed if it raises.
        """
        model = self._model
        given = {name: _as_array(name, value) for name, value in mapping.items()}
        given = fitted(model.states, given, model.graph, "the given mapping", rename=False)
        difference = state_of.compare(model.states, given)
        if not strict:
            difference = replace(difference, missing=(), unexpected=())
        if difference:
            raise WeightsError(difference.text("the given mapping"))
        self._set_arrays({name: array for name, array in given.items() if name in model.states})

    def _set_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Put checked arrays in place of the network's; programs bound to the old ones are dropped."""
        with self._lock:
            model = self._model
            given = {n: state_of.converted(n, model.states[n], a, self.dtype) for n, a in arrays.items()}
            with working_on(self._backend, self.device):
                ready = {name: self._backend.asarray(array) for name, array in given.items()}
            self._model = replace(
                model,
                arrays={**model.arrays, **ready},
                random=tuple(n for n in model.random if n not in ready),
                programs=OrderedDict(),
                prepared={},
            )

    def _need_memory(self, needed: int, what: str) -> None:
        available = self._backend.available_bytes()
        if available is not None and needed > available:
            raise DeviceError(
                f"{what} need {format_bytes(needed)}, the {self.device} device has "
                f"{format_bytes(available)} available"
            )

    # --- edits --------------------------------------------------------------------------------------

    def add_module(self, name: str, layer: Layer | BoundLayer) -> None:
        """Append a layer; it becomes the output unless outputs are explicit.

        A bound layer brings its weights. Raises `SpecError` if it does not fit, and changes nothing then.
        """
        self._edit(lambda mapping: editing.append(mapping, name, layer), {name: layer})

    def __setattr__(self, name: str, value: Any) -> None:
        """`net.fc = netspec.layers.Linear(...)` replaces a layer (or appends a new one)."""
        if isinstance(value, Layer | BoundLayer):
            self[name] = value
        else:
            object.__setattr__(self, name, value)

    def __setitem__(self, name: str, layer: Layer | BoundLayer) -> None:
        """Replace the layer of this full name, which keeps its inputs; a new name is appended."""
        if any(n.path == name or n.path.startswith(f"{name}.") for n in self._graph.nodes):
            self._edit(lambda mapping: editing.replace_entry(mapping, name, layer), {name: layer})
        else:
            self.add_module(name, layer)

    def _edit(
        self, change: Callable[[dict[str, Any]], dict[str, Any]], fresh: Mapping[str, Layer | BoundLayer]
    ) -> None:
        """A new spec, graph and set of arrays, all made before any takes the old one's place."""
        from netspec.network.write import to_mapping

        with self._lock:
            model = self._model
            analysis = analyse_mapping(change(to_mapping(model.spec)), self.dtype)
            if not analysis.valid:
                raise SpecError(analysis.diagnostics)
            assert analysis.spec is not None and analysis.graph is not None and analysis.shaped is not None
            shaped = (
                infer(analysis.graph, dtype=self.dtype, training=True) if self.training else analysis.shaped
            )
            if has_errors(shaped.diagnostics):
                raise SpecError(shaped.diagnostics)
            analysis.spec._directory = model.spec._directory
            kept = {
                key: array
                for key, array in model.arrays.items()
                if not any(key == name or key.startswith(f"{name}.") for name in fresh)
            }
            for name, layer in fresh.items():
                if isinstance(layer, BoundLayer):
                    kept |= layer.arrays(name)
            kept = {
                key: self._backend.to_numpy(kept[key])
                for key, state in states_of(shaped).items()
                if key in kept and kept[key].shape == state.shape
            }
            self._model = self._filled(analysis.spec, analysis.graph, shaped, kept, "", strict=False)

    def save(self, path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> None:
        """Write the network as YAML and its weights beside it (`net.safetensors` for `net.yaml`).

        weights: another name for the weights file. Both are written beside and renamed.
        """
        from netspec.interop.files import write_beside
        from netspec.interop.safetensors import write_safetensors
        from netspec.network.write import to_mapping, to_yaml

        target = Path(path)
        model = self._model
        file = Path(weights) if weights is not None else target.with_suffix(".safetensors")
        mapping = to_mapping(model.spec)
        mapping.pop("weights", None)
        if model.arrays:
            write_safetensors(file, self.state_dict())
            mapping["weights"] = os.path.relpath(file, target.parent)
        with write_beside(target) as out:
            out.write(to_yaml(mapping).encode())

    # --- modes --------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Network:
        """Training behaviour from now on: batch statistics, dropout."""
        with self._lock:
            if mode != self.training:
                model = self._model
                shaped = infer(model.graph, dtype=self.dtype, training=mode)
                if has_errors(shaped.diagnostics):
                    raise InputError("the network does not run in this mode", shaped.diagnostics)
                self._model = replace(model, shaped=shaped, programs=OrderedDict(), prepared={})
                self.training = mode
        return self

    def eval(self) -> Network:
        """Inference behaviour from now on."""
        return self.train(False)

    def to(self, device: str) -> Network:
        """Move the network to a device (cpu, cuda, cuda:N)."""
        backend = open_backend(device, self.cuda, self.kept_as)
        with self._lock:
            with working_on(self._backend, self.device):
                given = {n: self._backend.on_host(a) for n, a in self._arrays.items()}
            with working_on(backend, device):
                arrays = {n: backend.asarray(a) for n, a in given.items()}
            self._backend, self.device = backend, device
            self._model = replace(self._model, arrays=arrays, programs=OrderedDict(), prepared={})
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
        if not isinstance(inputs, Mapping):
            raise InputError("run takes a mapping from input names to arrays; call the network for one array")
        taps = [taps] if isinstance(taps, str) else taps
        outputs = [outputs] if isinstance(outputs, str) else outputs
        return self.compute(inputs, self.wanted(taps, outputs))

    def compute(self, inputs: Mapping[str, Any], wanted: Mapping[str, TensorRef]) -> dict[str, Any]:
        """The wanted tensors by name: `run` once names are resolved by `wanted`."""
        return self.begin(inputs, wanted).result()

    @property
    def calls_ahead(self) -> int:
        """Calls of `begin` whose results are best left pending, so that the device does not wait for inputs."""
        return self._backend.calls_ahead

    def begin(self, inputs: Mapping[str, Any], wanted: Mapping[str, TensorRef]) -> Call:
        """Start computing the wanted tensors; the inputs may be changed or dropped when this returns.

        On the CPU all is done by then; a CUDA device goes on meanwhile.
        """
        model, training = self._model, self.training
        given = by_name(model.graph, (inputs,), {})
        asked = tuple(wanted.items())
        needed = model.needed.get(asked)
        if needed is None:
            if len(model.needed) >= _PROGRAMS_KEPT:
                model.needed.clear()
            needed = model.needed[asked] = tuple(select(model.graph, wanted)[1])
        arrays = check_arrays(model.graph, self._backend.reachable(given), needed, self.dtype)
        if not training:
            return self._begin(model, arrays, asked, None)
        with self._lock:
            call = self._begin(model, arrays, asked, self._generator())
            call.result()  # the running statistics are those of the calls before
            return call

    def _begin(
        self, model: _Model, arrays: dict[str, Any], asked: tuple[tuple[str, TensorRef], ...], rng: Any
    ) -> Call:
        shapes = tuple((n, a.shape) for n, a in arrays.items())
        key = (shapes, asked)
        with self._lock:
            prepared = model.programs.get(key)
            if prepared is None:
                check_sizes(model.graph, dict(shapes))
                wanted = dict(asked)
                prepared = model.programs[key] = self._prepare(
                    model, shapes, wanted, training=rng is not None
                )
                while len(model.programs) > _PROGRAMS_KEPT:
                    model.programs.popitem(last=False)
            model.programs.move_to_end(key)
            executor = prepared.idle.pop() if prepared.idle else None
            if executor is None:
                executor = self._executor(model, prepared)
        call = Call(self, model, prepared, executor)
        try:
            keep = self.device != "cpu" and any(map(is_on_device, arrays.values()))
            executor.start(arrays, rng, keep)
        except StepError as error:
            call.give_back()
            raise InputError(f"layer {error.layer}: {error}") from None
        except self._backend.failures as error:  # the buffers are not used again
            raise device_error(error, self.device) from None
        except BaseException:
            call.give_back()
            raise
        return call

    def _executor(self, model: _Model, prepared: _Prepared) -> Executor:
        """Buffers and bound kernels. Raises `DeviceError` where memory is short."""
        self._need_memory(prepared.plan.total_bytes, "the network's activations")
        context = Context(
            lanes=self.threads or self._backend.default_lanes(),
            precision=self.precision,
            autotune=self.autotune,
            jit=self.jit,
            prepared=model.prepared,
        )
        with working_on(self._backend, self.device):
            return Executor(prepared.program, self._backend, model.arrays, context, prepared.plan)

    def _prepare(
        self,
        model: _Model,
        shapes: Sequence[tuple[str, tuple[int, ...]]],
        wanted: Mapping[str, TensorRef],
        training: bool,
    ) -> _Prepared:
        """The program for these input shapes; raises `InputError` where a layer refuses them."""
        shaped = infer(model.graph, dtype=self.dtype, training=training, sizes=dict(shapes))
        needed, _ = select(model.graph, wanted)
        if any(shaped.types[i] is None for i in needed):
            found = [d for d in shaped.diagnostics if d.severity == "error"]
            sizes = ", ".join(f"{n} {list(s)}" for n, s in shapes)
            raise InputError(f"the network does not take {sizes}", found)
        program = optimize(compile(shaped, wanted, training), self._backend.fused_types)
        if self.kept_as is not None:
            program = narrowed(program, self.kept_as)
        fewest = self._backend.fewest_channels(self.kept_as or self.dtype, self.precision, self.jit)
        return _Prepared(program, plan(program, channels_last(program, fewest)))

    def shaped(self, sizes: Mapping[str, tuple[int, ...]]) -> ShapedGraph:
        """The graph with the types that inputs of these shapes give."""
        return infer(self._graph, dtype=self.dtype, training=self.training, sizes=sizes)

    def wanted(self, taps: Iterable[str] = (), outputs: Iterable[str] | None = None) -> dict[str, TensorRef]:
        """The tensors asked for, by name; raises `InputError` for a name that means nothing."""
        return self._wanted(self._model, taps, outputs)

    def _wanted(
        self, model: _Model, taps: Iterable[str], outputs: Iterable[str] | None
    ) -> dict[str, TensorRef]:
        declared = model.graph.outputs
        wanted: dict[str, TensorRef] = {}
        for name in declared if outputs is None else outputs:
            if name not in declared:
                advice = did_you_mean(name, declared) or f"the outputs are {', '.join(declared)}"
                raise InputError(f"the network has no output `{name}`; {advice}")
            wanted[name] = declared[name]
        for tap in taps:
            wanted[tap] = self._tensor(model, tap)
        return wanted

    def tensor(self, name: str) -> TensorRef:
        """The tensor that a full reference means: an input, a layer, a group, or a port of a layer."""
        return self._tensor(self._model, name)

    def _tensor(self, model: _Model, name: str) -> TensorRef:
        if name in model.graph.inputs:
            return TensorRef(-1, name)
        if name in model.graph.groups:
            return model.graph.groups[name][0]
        head, _, port = name.rpartition(".")
        for node in model.graph.nodes:
            types = model.shaped.types[node.index] or {}
            if node.path == name:
                return TensorRef(node.index, next(iter(types), "out"))
            if node.path == head and port in types:
                return TensorRef(node.index, port)
        known = [n.path for n in model.graph.nodes]
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
        if name.startswith("_") or "_model" not in self.__dict__:
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
        count, dtype = len(self._graph.nodes), self.kept_as or self.dtype
        return f"<netspec.Network {self.spec.name}: {count} layers on {self.device}, {dtype}>"


class Call:
    """A call that was started: `result` waits for it and gives what it computed."""

    def __init__(self, network: Network, model: _Model, prepared: _Prepared, executor: Executor) -> None:
        self._network, self._model, self._prepared = network, model, prepared
        self._executor: Executor | None = executor
        self._results: dict[str, Any] | None = None

    def result(self) -> dict[str, Any]:
        """The wanted tensors by name, fresh arrays. Raises `InputError` for a value that a layer refuses."""
        executor = self._executor
        if executor is None:
            assert self._results is not None, "the call failed"
            return self._results
        try:
            self._results = executor.results()
            for name, array in executor.updates.items():
                executor.session.store(self._model.arrays[name], array)
        except executor.backend.failures as error:
            self._executor = None  # nor are its buffers used again
            raise device_error(error, self._network.device) from None
        except StepError as error:
            raise InputError(f"layer {error.layer}: {error}") from None
        finally:
            self.give_back()
        return self._results

    def give_back(self) -> None:
        """Let other calls have the buffers."""
        executor, self._executor = self._executor, None
        if executor is not None:
            with self._network._lock:
                self._prepared.idle.append(executor)


class _Prepared:
    """A program with the executors that are not running at the moment."""

    def __init__(self, program: Program, planned: Plan) -> None:
        self.program = program
        self.plan = planned
        self.idle: list[Executor] = []


def check_dtype(dtype: Any) -> str:
    """The name of a dtype that a network can run in (given as text or as NumPy's). Raises `InputError`."""
    known = (*FLOATS, *NARROW, *COMPLEX)
    if not isinstance(dtype, str):
        import numpy as np

        try:
            dtype = str(np.dtype(dtype))
        except TypeError:
            dtype = repr(dtype)
    if dtype not in known:
        raise InputError(f"dtype: expected one of {', '.join(known)}, got {dtype!r}")
    return str(dtype)


def outer_dtype(dtype: str) -> str:
    """The dtype of parameters, inputs and outputs of a network that runs in `dtype`."""
    return "float32" if dtype in NARROW else dtype


def _as_array(name: str, value: Any) -> Any:
    """A NumPy array; what lies on a device is copied from it."""
    import numpy as np

    return value if isinstance(value, np.ndarray) else np.asarray(from_device(value))


__all__ = ["Call", "Diagnostic", "Network", "state_key"]
