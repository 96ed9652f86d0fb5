"""Which of a checkpoint's unexpected arrays are probably the missing ones, under other names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
By = Literal["name", "shape", "order"]
_MOST_PAIRS = 20_000
_CLOSE = 0.6


@dataclass(frozen=True, slots=True)
class Rename:
    """A proposal: the checkpoint's name, the network's, and what speaks for it beside the shape.

    by: `name`, nearly the same name; `shape`, there is no other array of that shape; `order`, its place among
    the arrays of that shape.
    """

    old: str
    new: str
    shape: Shape
    by: By


def propose(missing: Mapping[str, Shape], unexpected: Mapping[str, Shape]) -> list[Rename]:
    """Pairs of equal shape, in the network's order; each name at most once, none that nothing speaks for.

    Among arrays of one shape whose names end alike (`weight`), equal numbers on both sides are paired in
    order, since state dicts keep the order of definition; otherwise the nearest names are.
    """
    found: dict[str, Rename] = {}
    for new, old in _same(missing, unexpected):
        found[new] = Rename(old, new, missing[new], "name")
    taken = {rename.old for rename in found.values()}
    for by_ending in (True, False):
        wanted = _groups({n: s for n, s in missing.items() if n not in found}, by_ending)
        spare = _groups({n: s for n, s in unexpected.items() if n not in taken}, by_ending)
        for key, news in wanted.items():
            olds = spare.get(key, [])
            if len(news) == len(olds):
                pairs = list(zip(news, olds, strict=True))
                by: By = "order" if len(news) > 1 else "shape"
            else:
                pairs, by = _nearest(news, olds), "name"
            for new, old in pairs:
                found[new] = Rename(old, new, missing[new], by)
                taken.add(old)
    return [found[name] for name in missing if name in found]


def _groups(names: Mapping[str, Shape], by_ending: bool) -> dict[tuple[Shape, str], list[str]]:
    groups: dict[tuple[Shape, str], list[str]] = {}
    for name, shape in names.items():
        groups.setdefault((shape, name.rpartition(".")[2] if by_ending else ""), []).append(name)
    return groups


def _same(missing: Mapping[str, Shape], unexpected: Mapping[str, Shape]) -> list[tuple[str, str]]:
    """Names that differ in case, `_` and `-` only, or by something before them."""
    folded: dict[str, list[str]] = {}
    for name in unexpected:
        folded.setdefault(_fold(name), []).append(name)
    pairs = []
    for name, shape in missing.items():
        olds = folded.get(_fold(name), [])
        if len(olds) == 1 and unexpected[olds[0]] == shape:
            pairs.append((name, folded.pop(_fold(name))[0]))
    return pairs


def _nearest(news: list[str], olds: list[str]) -> list[tuple[str, str]]:
    """The most alike names first; nothing where there are too many to compare."""
    if not olds or len(news) * len(olds) > _MOST_PAIRS:
        return []
    from difflib import SequenceMatcher

    scored = []
    for j, old in enumerate(olds):
        matcher = SequenceMatcher(None, b=_fold(old)[:80], autojunk=False)
        for i, new in enumerate(news):
            matcher.set_seq1(_fold(new)[:80])
            if matcher.real_quick_ratio() >= _CLOSE and (ratio := matcher.ratio()) >= _CLOSE:
                scored.append((-ratio, i, j))
    pairs = []
    used: set[int] = set()
    done: set[int] = set()
    for _, i, j in sorted(scored):
        if i not in done and j not in used:
            done.add(i)
            used.add(j)
            pairs.append((news[i], olds[j]))
    return pairs


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
