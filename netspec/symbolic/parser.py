"""Sizes written as text: ``(H + 2*padding - 3)//2 + 1``."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

from netspec.symbolic.expression import Dim, floor_divide, maximum, minimum, symbol

MAX_DEPTH: Final = 100
MAX_DIGITS: Final = 19
_TOKEN = re.compile(r"[ \t\r\n]*(?:(?P<int>[0-9]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<op>//|[-+*(),]))")
_CALLS = {"min": minimum, "max": maximum}


class ExpressionError(ValueError):
    """A text that is not a size; ``message`` says why, ``offset`` is the character where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message, self.offset = message, offset

    def __reduce__(self) -> tuple[type[ExpressionError], tuple[str, int]]:
        return ExpressionError, (self.message, self.offset)


def parse(text: str, allowed: Collection[str] | None = None) -> Dim:
    """The dim that ``text`` describes: integers, names, ``+ - * //``, parentheses, ``min()`` and ``max()``.

    Names outside ``allowed`` (when given) and anything else raise :class:`ExpressionError`.
    """
    parser = _Parser(text, allowed)
    result = parser.sum(0)
    if parser.kind != "end":
        raise parser.expected("an operator")
    return result


class _Parser:
    def __init__(self, text: str, allowed: Collection[str] | None) -> None:
        self.text, self.allowed = text, allowed
        self.end = 0
        self.advance()

    def advance(self) -> None:
        """Read the next token into ``kind``, ``token`` and ``offset``."""
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            self.offset = len(self.text) - len(self.text[self.end :].lstrip(" \t\r\n"))
            self.kind, self.token = "end", ""
            if self.offset < len(self.text):
                raise ExpressionError(_unreadable(self.text, self.offset), self.offset)
            return
        self.kind = match.lastgroup or "end"
        self.token, self.offset, self.end = match[self.kind], match.start(self.kind), match.end()

    def expected(self, what: str) -> ExpressionError:
        found = f'"{self.token}"' if self.token else "the end"
        return ExpressionError(f"expected {what}, got {found}", self.offset)

    def take(self, token: str) -> None:
        if self.kind != "op" or self.token != token:
            raise self.expected(f'"{token}"')
        self.advance()

    def sum(self, depth: int) -> Dim:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested more than {MAX_DEPTH} deep", self.offset)
        result = self.term(depth)
        while self.kind == "op" and self.token in ("+", "-"):
            sign = self.token
            self.advance()
            right = self.term(depth)
            result = result + right if sign == "+" else result - right
        return result

    def term(self, depth: int) -> Dim:
        result = self.factor(depth)
        while self.kind == "op" and self.token in ("*", "//"):
            operator, offset = self.token, self.offset
            self.advance()
            right = self.factor(depth)
            try:
                result = result * right if operator == "*" else floor_divide(result, right)
            except ZeroDivisionError:
                raise ExpressionError("division by zero", offset) from None
            except OverflowError as error:
                raise ExpressionError(str(error), offset) from None
        return result

    def factor(self, depth: int) -> Dim:
        negative = False
        while self.kind == "op" and self.token == "-":
            negative = not negative
            self.advance()
        result = self.primary(depth)
        return -result if negative else result

    def primary(self, depth: int) -> Dim:
        kind, token, offset = self.kind, self.token, self.offset
        if kind == "int":
            if len(token) > MAX_DIGITS:
                raise ExpressionError(f"expected at most {MAX_DIGITS} digits, got {len(token)}", offset)
            self.advance()
            if self.kind == "name" and self.offset == offset + len(token):
                raise self.expected("an operator")
            return int(token)
        if kind == "name":
            self.advance()
            return self.call(token, depth) if token in _CALLS else self.named(token, offset)
        if kind == "op" and token == "(":
            self.advance()
            result = self.sum(depth + 1)
            self.take(")")
            return result
        raise self.expected("a number, a name or (")

    def call(self, name: str, depth: int) -> Dim:
        self.take("(")
        arguments = [self.sum(depth + 1)]
        while self.kind == "op" and self.token == ",":
            self.advance()
            arguments.append(self.sum(depth + 1))
        self.take(")")
        return _CALLS[name](*arguments)

    def named(self, name: str, offset: int) -> Dim:
        if self.allowed is None or name in self.allowed:
            return symbol(name)
        nearest = get_close_matches(name, sorted(self.allowed), n=1, cutoff=0.5)
        folded = [known for known in sorted(self.allowed) if known.lower() == name.lower()]
        known = ", ".join(sorted(self.allowed)) or "none"
        hint = f'; did you mean "{(folded or nearest)[0]}"?' if folded or nearest else ""
        raise ExpressionError(f'unknown symbol "{name}"{hint} (known: {known})', offset)


def _unreadable(text: str, offset: int) -> str:
    if text[offset] == "/":
        return 'sizes are integers: use "//", got "/"'
    return f"expected a number, a name or one of + - * // ( ), got {text[offset]!r}"
