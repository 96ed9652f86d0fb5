"""The table of codes holds every code that the program uses."""

from __future__ import annotations

import re
from pathlib import Path

from netspec.diagnostics import CODES

PACKAGE = Path(__file__).parent.parent.parent / "netspec"
USES = re.compile(
    r"""(?:code=|report\(\s*|refuse\(\s*|PydanticCustomError\(\s*|Diagnostic\(\s*|_finding\(\s*)"([a-z0-9]+(?:-[a-z0-9]+)+)\""""
)


def test_every_code_is_explained() -> None:
    used = {
        (code, str(file.relative_to(PACKAGE)))
        for file in PACKAGE.rglob("*.py")
        for code in USES.findall(file.read_text(encoding="utf-8"))
    }
    assert len(used) > 50
    assert {use for use in used if use[0] not in CODES} == set()


def test_codes_are_kebab_case_with_a_sentence() -> None:
    for code, text in CODES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert text.endswith(".")
