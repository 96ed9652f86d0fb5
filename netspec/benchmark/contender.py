"""What takes part in a measurement: the network to be run, and one way of running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from netspec.diagnostics import InputError
from netspec.graph import ShapedGraph, TensorRef
from netspec.program.compile import Program, compile


@dataclass(frozen=True, eq=False)
class Task:
    """One network with numbers for all sizes, its weights and its inputs: the same for everybody.

    arrays: the state dict, in the network's dtype; inputs: those that the outputs need, in order.
    """

    shaped: ShapedGraph
    wanted: dict[str, TensorRef]
    arrays: Mapping[str, Any]
    inputs: Mapping[str, Any]
    threads: int

    def program(self) -> Program:
        """The plain lowering of the network, as other runtimes get it."""
        return compile(self.shaped, self.wanted)


@dataclass(frozen=True, eq=False)
class Contender:
    """One runtime in one setting.

    call: one whole call as a user makes it, from arrays to arrays; read: its result as NumPy arrays by output
    name; scope: what a block of calls runs in (torch's inference mode).
    """

    name: str
    version: str
    setting: str
    call: Callable[[], Any]
    read: Callable[[Any], dict[str, Any]]
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def title(self) -> str:
        """`torch 2.13.0, channels_last`."""
        return f"{self.name} {self.version}" + (f", {self.setting}" if self.setting else "")

    def outputs(self) -> dict[str, Any]:
        """The outputs of one call."""
        with self.scope():
            return self.read(self.call())


class Unsupported(InputError):
    """A peer cannot express a layer; the message names the layer."""


Maker = Callable[[], Contender]
"""Builds a contender when it is wanted: weights are copied then."""
