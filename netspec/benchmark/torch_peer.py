"""The same network in PyTorch, straight from the graph: modules for modules, functions for functions.

The layers of a network have torch's names and parameters, so a node becomes `torch.nn.<type>(**parameters)`
or a call of `torch.<type>`; `torch.fx` writes the forward method that a person would write. Weights are
loaded strictly, layer by layer, into torch's own memory.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from netspec.benchmark.contender import Contender, Maker, Task, Unsupported
from netspec.diagnostics import DeviceError
from netspec.graph.model import INPUT, Node, TensorRef
from netspec.layers.base import Layer

CHANNELS_LAST = {4: "channels_last", 5: "channels_last_3d"}
"""Memory format by number of axes."""


def library() -> Any:
    """torch, imported when it is asked for. Raises `DeviceError` where it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise DeviceError("--against torch: PyTorch is not installed: pip install torch") from None


def settings(task: Task) -> list[str]:
    """The memory formats worth trying: the second one needs inputs or outputs with space."""
    ranks = {array.ndim for array in task.inputs.values()} | {
        tensor.rank for types in task.shaped.types for tensor in (types or {}).values()
    }
    return ["contiguous"] + (["channels_last"] if ranks & set(CHANNELS_LAST) else [])


def makers(task: Task) -> dict[str, Maker]:
    """Setting -> what builds the contender."""
    torch = library()
    torch.set_num_threads(task.threads)
    return {setting: partial(make, task, setting) for setting in settings(task)}


def make(task: Task, setting: str) -> Contender:
    """The network in eager PyTorch, in inference mode and one memory format.

    channels_last: weights and inputs lie in it before the clock starts, which is the best case.
    """
    torch = library()
    torch.set_num_threads(task.threads)
    module, tensors = build(task), [_owned(torch, a) for a in task.inputs.values()]
    if setting == "channels_last":
        _to_channels_last(torch, module)
        tensors = [_channels_last(torch, t) for t in tensors]
    names = list(task.wanted)

    def read(result: Any) -> dict[str, Any]:
        return {n: t.contiguous().numpy().copy() for n, t in zip(names, result, strict=True)}

    version = torch.__version__.partition("+")[0]
    # fx wraps __call__ for its own tracebacks; a module that a person wrote has no such wrapper
    call = partial(torch.nn.Module.__call__, module, *tensors)
    return Contender("torch", version, setting, call, read, _scope)


@contextmanager
def _scope() -> Iterator[None]:
    """Inference mode, and no warnings about defaults that the network's author chose."""
    with library().inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _owned(torch: Any, array: Any) -> Any:
    """A copy in memory that torch has aligned for itself."""
    return torch.from_numpy(array).clone()


def _channels_last(torch: Any, tensor: Any) -> Any:
    name = CHANNELS_LAST.get(tensor.ndim)
    return tensor if name is None else tensor.contiguous(memory_format=getattr(torch, name))


def _to_channels_last(torch: Any, module: Any) -> None:
    for parameter in module.parameters():
        parameter.data = _channels_last(torch, parameter.data)


# --- the graph --------------------------------------------------------------------------------------


def build(task: Task) -> Any:
    """An evaluating torch.fx.GraphModule that returns a tuple of the wanted tensors."""
    return _Builder(task).module()


class _Builder:
    def __init__(self, task: Task) -> None:
        self.torch = library()
        self.fx = importlib.import_module("torch.fx")
        self.task = task
        self.graph = self.fx.Graph()
        self.attributes: dict[str, Any] = {}
        self.found: dict[TensorRef, Any] = {}

    def module(self) -> Any:
        from netspec.graph import select

        for name in self.task.inputs:
            self.found[TensorRef(INPUT, name)] = self.graph.placeholder(f"input_{name}")
        needed, _ = select(self.task.shaped.graph, self.task.wanted)
        for node in self.task.shaped.graph.nodes:
            if node.index in needed:
                self.node(node)
        self.graph.output(tuple(self.found[ref] for ref in self.task.wanted.values()))
        with warnings.catch_warnings():  # fx finds shared modules worth a word
            warnings.simplefilter("ignore")
            return self.fx.GraphModule(self.attributes, self.graph).eval()

    def node(self, node: Node) -> None:
        layer, types = self.task.shaped.layers[node.index], self.task.shaped.types[node.index]
        assert layer is not None and types is not None
        arguments = tuple(self.found[ref] for ref in node.inputs)
        shape = tuple(next(iter(types.values())).shape)
        if layer.type_name == "Parameter":
            result = self.graph.get_attr(self.attribute(node, layer))
        elif layer.type_name.islower():
            function, keywords = self.function(layer, shape)
            given = (arguments,) if layer.arity[1] is None else arguments
            if layer.type_name == "einsum":
                given = (keywords.pop("equation"), *arguments)
            result = self.graph.call_function(function, given, keywords)
        else:
            keywords = {}
            if getattr(layer, "output_size", None) is not None and layer.arity[1] and _sized_at_call(layer):
                keywords["output_size"] = list(shape[-layer.rank :])  # type: ignore[attr-defined]
            result = self.graph.call_module(self.attribute(node, layer), arguments, keywords)
        result.meta["layer"] = node.path
        if len(types) == 1 and layer.ports() is not None:
            self.found[TensorRef(node.index, next(iter(types)))] = result
            return
        for number, port in enumerate(types):
            piece = self.graph.call_function(_item, (result, number))
            self.found[TensorRef(node.index, port)] = piece

    def attribute(self, node: Node, layer: Layer) -> str:
        """The name of the module (or parameter) of a node: shared where the layer is."""
        name = "at_" + node.state_path.replace(".", "_dot_")
        if name not in self.attributes:
            if layer.type_name == "Parameter":
                tensor = _owned(self.torch, self.task.arrays[node.state_path])
                self.attributes[name] = self.torch.nn.Parameter(tensor, requires_grad=False)
            else:
                self.attributes[name] = self.layer(node.state_path, layer)
        return name

    def layer(self, path: str, layer: Layer) -> Any:
        """The module with the network's weights; built without its own, which would be drawn in vain."""
        torch = self.torch
        kind = getattr(torch.nn, layer.type_name, None)
        if kind is None:
            raise Unsupported(f"torch {torch.__version__} has no {layer.type_name} (layer {path})")
        parameters = parameters_of(layer)
        if layer.type_name.startswith("Adaptive"):
            parameters["output_size"] = layer.output_size  # type: ignore[attr-defined]
        for key in ("weight", "pos_weight"):
            if isinstance(parameters.get(key), tuple | float | int):  # of losses
                parameters[key] = torch.tensor(parameters[key], dtype=getattr(torch, self.task.shaped.dtype))
        with torch.device("meta"):
            module = kind(**parameters)
        prefix = path + "."
        state = {
            key[len(prefix) :]: _owned(torch, array)
            for key, array in self.task.arrays.items()
            if key.startswith(prefix)
        }
        module.load_state_dict(state, strict=True, assign=True)
        return module.requires_grad_(False)

    def function(self, layer: Layer, shape: tuple[Any, ...]) -> tuple[Callable[..., Any], dict[str, Any]]:
        """The torch function of a lower-case type, and its keywords."""
        torch, kind = self.torch, layer.type_name
        parameters = parameters_of(layer)
        if kind in ("reshape", "unflatten"):  # sizes may be expressions; the numbers are known by now
            return torch.reshape, {"shape": shape}
        if kind in ("maximum", "minimum") and "other" in parameters:
            name = f"number_{len(self.attributes)}"
            self.attributes[name] = torch.tensor(parameters["other"])
            parameters["other"] = self.graph.get_attr(name)
        if "keepdim" in parameters and kind in ("sum", "mean"):
            parameters.setdefault("dim", None)
        if "dtype" in parameters:
            parameters["dtype"] = getattr(torch, parameters["dtype"])
        home = torch if hasattr(torch, kind) and kind not in ("softmax", "log_softmax") else None
        functional = torch.nn.functional
        if kind in ("pad", "interpolate", "softmax", "log_softmax") or home is None:
            home = functional
        if not hasattr(home, kind):
            raise Unsupported(f"torch {torch.__version__} has no function {kind}")
        parameters.pop("inplace", None)  # torch.relu has none; values are the same
        return getattr(home, kind), parameters


def parameters_of(layer: Layer) -> dict[str, Any]:
    """The parameters that differ from torch's defaults, lists as tuples."""
    parameters = layer.to_mapping()
    for key in ("name", "type", "inputs", "init"):
        parameters.pop(key, None)
    if _sized_at_call(layer):
        parameters.pop("output_size", None)
    return {key: _tuples(value) for key, value in parameters.items()}


def _sized_at_call(layer: Layer) -> bool:
    return layer.type_name.startswith(("ConvTranspose", "MaxUnpool"))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _item(values: Any, number: int) -> Any:
    return values[number]


# --- times by layer ---------------------------------------------------------------------------------


def layer_times(task: Task, setting: str, seconds: float) -> Mapping[str, float]:
    """Least seconds of each layer over several runs, node by node; ports and views count with their layer."""
    torch = library()
    fx = importlib.import_module("torch.fx")
    contender_module, tensors = build(task), [_owned(torch, a) for a in task.inputs.values()]
    if setting == "channels_last":
        _to_channels_last(torch, contender_module)
        tensors = [_channels_last(torch, t) for t in tensors]
    best: dict[str, float] = {}

    class Timed(fx.Interpreter):  # type: ignore[misc, name-defined]
        def run_node(self, n: Any) -> Any:
            start = time.perf_counter()
            result = super().run_node(n)
            taken = time.perf_counter() - start
            layer = n.meta.get("layer")
            if layer is not None:
                best[layer] = min(best.get(layer, taken), taken)
            return result

    interpreter = Timed(contender_module)
    with _scope():
        end = time.perf_counter() + seconds
        for number in range(10_000):
            interpreter.run(*tensors)
            if number >= 2 and time.perf_counter() > end:
                break
    return best


def prime() -> None:
    """Makes torch load what it loads at its first call, so that it is not counted as the network's memory."""
    torch = library()
    with torch.inference_mode():
        torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3))
        torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2))
