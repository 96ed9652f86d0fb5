"""What a network takes and gives, in the protocol's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from netspec.diagnostics import InputError, did_you_mean
from netspec.graph import TensorRef, select
from netspec.runtime.inputs import check_sizes
from netspec.runtime.network import Network
from netspec.service.datatypes import NUMPY, name_of
from netspec.service.errors import Refused


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: -1 in `shape` is a size that varies, `written` says how ([N, 3, H, W])."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    written: tuple[Any, ...]
    labels: tuple[str, ...] = ()

    @property
    def dtype(self) -> Any:
        """NumPy's dtype."""
        return NUMPY[self.datatype]


class Signature:
    """The inputs and outputs of a network, and what each set of outputs needs."""

    def __init__(self, net: Network) -> None:
        """Raises `InputError` where the protocol has no datatype for a tensor."""
        self._net = net
        shaped, spec = net.shaped({}), net.spec
        labels = {name: tuple(map(str, o.labels or ())) for name, o in (spec.outputs or {}).items()}
        self.inputs = {name: _port("input", name, kind, ()) for name, kind in shaped.inputs.items()}
        self.outputs = {
            name: _port("output", name, kind, labels.get(name, ())) for name, kind in shaped.outputs.items()
        }
        self._graph = shaped.graph
        self.wanted = lru_cache(maxsize=64)(self._wanted)

    def _wanted(self, outputs: tuple[str, ...]) -> tuple[Mapping[str, TensorRef], tuple[str, ...]]:
        """The tensors of these outputs, and the inputs that they need."""
        wanted = self._net.wanted(outputs=outputs)
        return wanted, select(self._graph, wanted)[1]

    def input(self, name: Any) -> Port:
        """The input of this name. Raises `Refused` (400)."""
        return _named("input", name, self.inputs)

    def output(self, name: Any) -> Port:
        """The output of this name. Raises `Refused` (400)."""
        return _named("output", name, self.outputs)

    def check_sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Ranks, fixed sizes and shared symbols. Raises `Refused` (400)."""
        try:
            check_sizes(self._graph, shapes)
        except InputError as error:
            raise Refused(400, error.message) from None


def _port(what: str, name: str, kind: Any, labels: tuple[str, ...]) -> Port:
    datatype = name_of(kind.dtype)
    if datatype is None:
        raise InputError(f"{what} {name}: the protocol has no datatype for {kind.dtype}")
    shape = tuple(size if isinstance(size, int) else -1 for size in kind.shape)
    written = tuple(size if isinstance(size, int) else str(size) for size in kind.shape)
    return Port(name, datatype, shape, written, labels)


def _named(what: str, name: Any, known: Mapping[str, Port]) -> Port:
    if isinstance(name, str) and name in known:
        return known[name]
    if not isinstance(name, str):
        raise Refused(400, f"{what}s: every one needs a `name`, a text")
    raise Refused(400, f"the network has no {what} {name[:60]!r}; {advice(name, known)}")


def advice(name: str, known: Iterable[str]) -> str:
    """The nearest name, or all."""
    names = list(known)
    return (
        did_you_mean(name[:60], names)
        or f"the {'names are' if len(names) > 1 else 'name is'} {', '.join(names)}"
    )
