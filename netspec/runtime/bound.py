"""Layers of a network that runs: names, shapes, weights to read and assign."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from netspec.diagnostics import WeightsError
from netspec.layers.tensor import TensorType
from netspec.runtime import weights as state_of

if TYPE_CHECKING:
    from netspec.runtime.network import Network


class BoundLayer:
    """A view of one layer or group of a network; parameters are attributes."""

    def __init__(self, network: Network, name: str) -> None:
        self.__dict__["_network"] = network
        self.__dict__["name"] = name

    @property
    def _indices(self) -> list[int]:
        name = self.name
        nodes = self._network._graph.nodes
        return [n.index for n in nodes if n.path == name or n.path.startswith(f"{name}.")]

    @property
    def type(self) -> str:
        """The layer's type, or "Sequential" for a group."""
        index = self._indices[0]
        node = self._network._graph.nodes[index]
        return node.layer.type_name if node.path == self.name and node.layer is not None else "Sequential"

    @property
    def output_shape(self) -> tuple[Any, ...]:
        """Shape of the first output: ints and expressions over the named sizes."""
        ref = self._network.tensor(self.name)
        tensor = self._network._shaped.type_of(ref)
        assert isinstance(tensor, TensorType)
        return tensor.shape

    def parameters(self) -> dict[str, Any]:
        """Parameters (not buffers) by their names within the layer."""
        return {
            name: self._network._backend.to_numpy(self._network._arrays[key])
            for name, key in self._keys()
            if not self._network._states[key].buffer
        }

    def __getitem__(self, child: str | int) -> BoundLayer:
        """A child of a group, by name or position."""
        found = self._network[f"{self.name}.{child}"]
        assert isinstance(found, BoundLayer)
        return found

    def blocks(self) -> dict[str, Any]:
        """Definitions of the blocks that the entry may be an instance of."""
        from netspec.network.write import to_mapping

        blocks: dict[str, Any] = to_mapping(self._network.spec).get("blocks", {})
        return blocks

    def arrays(self, name: str | None = None) -> dict[str, Any]:
        """Parameters and buffers by state-dict key, under another name if one is given."""
        net = self._network
        found = {}
        for local, key in self._keys():
            shown = key if name is None else name if local == key else f"{name}.{local}"
            found[shown] = net._backend.on_host(net._arrays[key])
        return found

    def to_mapping(self) -> dict[str, Any]:
        """The entry as it would be written."""
        from netspec.network.write import to_mapping

        mapping = to_mapping(self._network.spec)
        layers = mapping["layers"]
        for part in self.name.split("."):
            entry = next(e for i, e in enumerate(layers) if str(e.get("name", i)) == part)
            layers = entry.get("layers", [])
        return dict(entry)

    def __call__(self, *inputs: Any) -> Any:
        """Run this layer alone, on arrays, with the network's weights."""
        import numpy as np

        from netspec.api import load

        arrays = [np.asarray(x) for x in inputs]
        names = [f"x{i}" for i in range(len(arrays))]
        entry = {**self.to_mapping(), "name": "layer"}
        entry.pop("inputs", None)
        if arrays:
            entry["inputs"] = names
        mapping: dict[str, Any] = {
            "netspec": 1,
            "inputs": {
                name: {
                    "shape": [size or f"S{name}_{axis}" for axis, size in enumerate(x.shape)],
                    "dtype": str(x.dtype),
                }
                for name, x in zip(names, arrays, strict=True)
            }
            or {"unused": []},
            "blocks": self.blocks(),
            "layers": [entry],
        }
        if not mapping["blocks"]:
            del mapping["blocks"]
        net = load(
            mapping, weights=self.arrays("layer"),
            dtype=self._network.kept_as or self._network.dtype, device=self._network.device, cuda=self._network.cuda,
            seed=self._network.seed, mode="train" if self._network.training else "eval",
        )  # fmt: skip
        return net(dict(zip(names, arrays, strict=True)))

    def reset_parameters(self, seed: int | None = None) -> None:
        """Draw the layer's parameters anew, from the network's seed or another."""
        net = self._network
        chosen = net.seed if seed is None else seed
        net._set_arrays(
            {key: state_of.initial(key, net._states[key], net.dtype, chosen) for _, key in self._keys()}
        )

    def _keys(self) -> Iterator[tuple[str, str]]:
        paths = {self._network._graph.nodes[i].state_path for i in self._indices}
        for key in self._network._arrays:
            if key in paths:
                yield key, key
            elif any(key.startswith(f"{path}.") for path in paths):
                yield key.removeprefix(f"{self.name}."), key

    def _key(self, name: str) -> str | None:
        return next((key for local, key in self._keys() if local == name), None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        key = self._key(name)
        if key is not None:
            array = self._network._backend.to_numpy(self._network._arrays[key])
            array.flags.writeable = False  # a copy: writing into it would change nothing
            return array
        child = f"{self.name}.{name}"
        if any(n.path == child or n.path.startswith(child + ".") for n in self._network._graph.nodes):
            return BoundLayer(self._network, child)
        index = self._indices[0]
        layer = self._network._shaped.layers[index]
        if layer is not None and name in type(layer).model_fields:
            return getattr(layer, name)
        raise AttributeError(f"layer {self.name} ({self.type}) has no {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign a parameter: its shape must fit, and its dtype must be convertible."""
        from netspec.runtime.network import _as_array

        key = self._key(name)
        if key is None:
            known = ", ".join(local for local, _ in self._keys()) or "no parameters"
            raise AttributeError(f"layer {self.name} ({self.type}) has no parameter {name!r}; it has {known}")
        array = _as_array(name, value)
        state = self._network._states[key]
        difference = state_of.compare({key: state}, {key: array})
        if difference:
            raise WeightsError(difference.text(f"the array assigned to {self.name}.{name}"))
        self._network._set_arrays({key: array})

    def __repr__(self) -> str:
        return f"<{self.type} {self.name}: {list(self.output_shape)}>"
