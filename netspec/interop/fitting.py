"""A checkpoint's names as the network has them: prefixes off, weight_norm folded, shared layers once.

Only what training tools are known to add is undone, and only where more names fit for it; everything else
stays a difference that the user is told about.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netspec.backends.base import from_device
from netspec.diagnostics import WeightsError
from netspec.graph import Graph
from netspec.layers.base import State

log = logging.getLogger("netspec")

PREFIXES = ("module", "_orig_mod", "model")
"""What DataParallel, torch.compile and training frameworks put before every name."""
INSIDE = ("_orig_mod", "module")
"""The same where only a part of the model was wrapped."""
_MOST_STEPS = 4

Names = dict[str, str]
"""Names as they are tried, and the checkpoint's for them."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Arrays under the network's names; for each one the checkpoint's names it came from; what was done."""

    arrays: dict[str, Any]
    sources: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]


def fitted(
    expected: Mapping[str, State], given: Mapping[str, Any], graph: Graph, source: str, *, rename: bool = True
) -> dict[str, Any]:
    """The arrays of `fit`, its notes logged."""
    found = fit(expected, given, graph, rename=rename)
    for note in found.notes:
        log.info("%s: %s", source, note)
    return found.arrays


def fit(expected: Mapping[str, State], given: Mapping[str, Any], graph: Graph, *, rename: bool = True) -> Fit:
    """`given` under the names of `expected`, as far as they can be brought together.

    rename False: only the second names of shared layers are dropped. Raises `WeightsError` if the names of
    one shared array have different values.
    """
    aliases = second_names(expected, graph)
    wanted = {**expected, **{alias: expected[name] for alias, name in aliases.items()}}
    names, notes = _without_prefixes(wanted, given) if rename else ({n: n for n in given}, [])
    folds = _folds(wanted, names, given) if rename else {}
    if folds:
        notes.append(f"weight_norm was folded into {_some(folds)}")
    parts = {part for pair in folds.values() for part in pair}
    arrays: dict[str, Any] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for name in [*(n for n in names if n not in parts), *folds]:
        if name in folds:
            gain, direction = (names[part] for part in folds[name])
            arrays[name], sources[name] = fold(given[gain], given[direction]), (gain, direction)
        else:
            arrays[name], sources[name] = given[names[name]], (names[name],)
    for alias, name in aliases.items():
        if alias in arrays:
            array, source = arrays.pop(alias), sources.pop(alias)
            if name not in arrays:
                arrays[name], sources[name] = array, source
            elif not _equal(array, arrays[name]):
                raise WeightsError(
                    f"{alias} and {name} have different values, the network uses one array for both"
                )
    order = {name: index for index, name in enumerate(expected)}
    arrays = dict(sorted(arrays.items(), key=lambda item: order.get(item[0], len(order))))
    return Fit(arrays, sources, tuple(notes))


def second_names(expected: Mapping[str, State], graph: Graph) -> dict[str, str]:
    """torch's names for the arrays of layers that are called again (`use:`), and the names they are under."""
    of_layer: dict[str, list[str]] = {}
    for name in expected:
        of_layer.setdefault(name, []).append("")
        layer, _, own = name.rpartition(".")
        of_layer.setdefault(layer, []).append(f".{own}")
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.path != node.state_path:
            for own in of_layer.get(node.state_path, ()):
                if node.path + own not in expected:
                    found[node.path + own] = node.state_path + own
    return found


# --- prefixes ---------------------------------------------------------------------------------------


def _without_prefixes(wanted: Mapping[str, State], given: Mapping[str, Any]) -> tuple[Names, list[str]]:
    """The names that fit best, those with the fewest changes first, and a note on what was taken off."""
    level: list[tuple[Names, tuple[str, ...]]] = [({name: name for name in given}, ())]
    best, removed = level[0]
    best_score = _score(wanted, best, given)
    seen = {frozenset(best)}
    for _ in range(_MOST_STEPS):
        following = []
        for names, steps in level:
            for token, inside in [*((t, False) for t in PREFIXES), *((t, True) for t in INSIDE)]:
                changed = _removed(names, token, inside)
                if changed is None or frozenset(changed) in seen:
                    continue
                seen.add(frozenset(changed))
                following.append((changed, (*steps, token)))
                score = _score(wanted, changed, given)
                if score > best_score:
                    best, removed, best_score = changed, (*steps, token), score
        level = following
    changed_names = [name for name in best if best[name] != name]
    if not removed:
        return best, []
    return best, [f"`{'.'.join(removed)}.` was taken off {len(changed_names)} of {len(best)} names"]


def _removed(names: Names, token: str, inside: bool) -> Names | None:
    """The names without this part at the front, or anywhere; None if nothing changes or two become one."""
    found: Names = {}
    for name, original in names.items():
        if inside:
            name = ".".join(part for part in name.split(".") if part != token)
        else:
            name = name.removeprefix(f"{token}.")
        if name in found:
            return None
        found[name] = original
    return found if found.keys() != names.keys() else None


def _score(wanted: Mapping[str, State], names: Names, given: Mapping[str, Any]) -> tuple[int, int]:
    """How many names fit with their shapes, then how few are left over."""
    folds = _folds(wanted, names, given)
    fits = len(folds)
    over = -2 * len(folds)
    for name, original in names.items():
        state = wanted.get(name)
        over += state is None
        fits += state is not None and tuple(given[original].shape) == state.shape
    return fits, -over


# --- weight_norm ------------------------------------------------------------------------------------


def fold(gain: Any, direction: Any) -> Any:
    """The weight that torch.nn.utils.weight_norm makes of its two parts, in the direction's dtype.

    The norm goes over every axis along which the gain has one value (all but `dim`, which is 0 unless it was
    chosen). Source: https://pytorch.org/docs/stable/generated/torch.nn.utils.weight_norm.html
    """
    import numpy as np

    g, v = (from_device(part) for part in (gain, direction))
    wide = np.promote_types(v.dtype, np.float64)
    axes = tuple(axis for axis in range(v.ndim) if g.ndim == 0 or g.shape[axis] == 1)
    norm = np.sqrt(np.sum(np.abs(v.astype(wide)) ** 2, axis=axes, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):  # a zero direction is NaN in torch as well
        return (v * (g.astype(wide) / norm)).astype(v.dtype)


def _folds(wanted: Mapping[str, State], names: Names, given: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Wanted names that are there only as weight_norm's parts, gain and direction."""
    found = {}
    for gain in names:
        for first, second, inner in (
            ("original0", "original1", ".parametrizations."), ("weight_g", "weight_v", "")
        ):  # fmt: skip
            head, _, last = gain.rpartition(".")
            if last != first:
                continue
            direction = f"{head}.{second}" if head else second
            if inner:
                layer, there, own = f".{head}".rpartition(inner)
                name = f"{layer}.{own}".lstrip(".") if there else ""
            else:
                name = f"{head}.weight" if head else "weight"
            if name in names or name not in wanted or direction not in names:
                continue
            g, v = (tuple(given[names[part]].shape) for part in (gain, direction))
            if v == wanted[name].shape and (
                not g or (len(g) == len(v) and all(a in (1, b) for a, b in zip(g, v, strict=True)))
            ):
                found[name] = (gain, direction)
    return found


# --- arrays -----------------------------------------------------------------------------------------


def _equal(a: Any, b: Any) -> bool:
    import numpy as np

    if a is b:
        return True
    a, b = from_device(a), from_device(b)
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc" and b.dtype.kind in "fc"))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
