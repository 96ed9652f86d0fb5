"""The valid name that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

# difflib is quadratic in the word's length; no name anyone means is longer than this.
_LONGEST = 80
_CUTOFF = 0.7


def nearest(word: str, candidates: Iterable[str], n: int = 1) -> list[str]:
    """Up to `n` candidates that `word` is probably a slip for, best first; empty when nothing is close.

    Case, `_` and `-` do not count: `conv2d`, `Conv_2d` and `CONV2D` all are `Conv2d`.
    """
    if not word or len(word) > _LONGEST:
        return []
    names = list(dict.fromkeys(candidates))
    folded = _fold(word)
    same = [name for name in names if name.lower() == word.lower()]
    same += [name for name in names if _fold(name) == folded and name not in same]
    if len(same) >= n:
        return same[:n]

    from difflib import SequenceMatcher  # only wanted when something is wrong

    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(folded)
    scored = []
    for index, name in enumerate(names):
        if name in same or len(name) > _LONGEST:
            continue
        matcher.set_seq1(_fold(name))
        if matcher.real_quick_ratio() >= _CUTOFF and matcher.ratio() >= _CUTOFF:
            scored.append((-matcher.ratio(), index, name))
    return [*same, *(name for _, _, name in sorted(scored))][:n]


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """``did you mean `kernel_size`?``, or None when nothing is close."""
    found = nearest(word, candidates)
    return f"did you mean `{found[0]}`?" if found else None


def meant(help: str | None) -> str | None:
    """The name that `did_you_mean` offered, from its sentence."""
    found = re.search(r"did you mean `([^`]+)`\?", help or "")
    return found[1] if found else None


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
