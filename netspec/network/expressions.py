"""`$arg` and integer arithmetic on it: values take the place of plain scalars before anything is validated.

Inside a block a plain scalar that is `$arg` becomes the argument's value, whatever its type; one such as
`($planes + 1)//2` becomes an integer. The result stands where the scalar stood, so that what is wrong with
the value is shown at the block's line. Quoted text is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn, Protocol

from netspec.diagnostics import Span, did_you_mean
from netspec.document import Broken, Entry, Mapping, Node, Scalar, Sequence
from netspec.layers.parameters import describe

SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""An argument's name."""
INDEX: Final = "index"
"""`$index` is the number of a repetition."""
MALFORMED: Final = "$"
"""Stands among the names that a node uses for a `$` that is no name."""
MAX_VALUES: Final = 500_000
"""Values in lists and mappings that substitution may copy in one network: arguments made of arguments can
double at each level."""
MAX_VALUE_DEPTH: Final = 32
"""Nesting of lists and mappings in an argument."""

_MAX_PARENTHESES: Final = 50
_LARGEST: Final = 2**63
_WHOLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<int>[0-9]+)|\$(?P<arg>[A-Za-z_][A-Za-z0-9_]*)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<op>//|[-+*(),]))"
)


class ExpressionError(ValueError):
    """An expression that has no value: a diagnostic's code, message and help, and the characters meant."""

    def __init__(self, code: str, message: str, start: int, end: int, help: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.start, self.end, self.help = code, message, start, end, help


class Unknown(Exception):
    """An argument whose value is not known: a block is looked at without an instance."""


Lookup = Callable[[str, int], int]
"""The integer that `$name` at an offset stands for; raises `ExpressionError` and `Unknown`."""


# --- arithmetic -------------------------------------------------------------------------------------


def evaluate(text: str, lookup: Lookup) -> int | str:
    """The value of an expression: `+ - * //`, unary minus, parentheses, integers and `$name`.

    With symbols in it (`H*$scale`, for `reshape`) it is the same text with the arguments' values put in.
    """
    tokens = list(_tokens(text))
    if any(token.kind == "name" for token in tokens):
        return _with_values(text, tokens, lookup)
    parser = _Parser(tokens, len(text), lookup)
    value = parser.sum(0)
    if parser.token.kind != "end":
        parser.fail("an operator")
    return value


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    end = len(text.rstrip())
    at = 0
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            sign = text[start]
            advice = "integers are divided with //" if sign == "/" else None
            if sign == "$":
                advice = "an argument is $ and a name; put quotes around text that is meant as it is"
            raise ExpressionError(
                "wrong-expression",
                f"`{sign}` has no meaning here: "
                "expressions have integers, $arguments, + - * // and parentheses",
                start,
                start + 1,
                advice or "put quotes around text that is meant as it is",
            )
        kind = str(match.lastgroup)
        found.append(_Token(kind, match[kind], match.start(kind) - (kind == "arg"), match.end()))
        at = match.end()
    return found


def _with_values(text: str, tokens: list[_Token], lookup: Lookup) -> str:
    """The text with arguments replaced by their values."""
    result, at = "", 0
    for token in tokens:
        if token.kind == "arg":
            value = lookup(token.text, token.start)
            result += text[at : token.start] + (str(value) if value >= 0 else f"({value})")
            at = token.end
    return result + text[at:]


class _Parser:
    """Evaluates while it reads: `**` and calls do not exist, so values stay small and depth is bounded."""

    def __init__(self, tokens: list[_Token], length: int, lookup: Lookup) -> None:
        self.tokens = [*tokens, _Token("end", "the end", length, length)]
        self.at = 0
        self.lookup = lookup

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, expected: str) -> NoReturn:
        token = self.token
        got = token.text if token.kind == "end" else f"`{'$' * (token.kind == 'arg')}{token.text}`"
        raise ExpressionError("wrong-expression", f"expected {expected}, got {got}", token.start, token.end)

    def take(self, *texts: str) -> _Token | None:
        token = self.token
        if token.kind == "op" and token.text in texts:
            self.at += 1
            return token
        return None

    def sum(self, depth: int) -> int:
        value = self.product(depth)
        while (sign := self.take("+", "-")) is not None:
            other = self.product(depth)
            value = self.checked(value + other if sign.text == "+" else value - other, sign)
        return value

    def product(self, depth: int) -> int:
        value = self.factor(depth)
        while (sign := self.take("*", "//")) is not None:
            start = self.token.start
            other = self.factor(depth)
            if sign.text == "//" and other == 0:
                end = self.tokens[self.at - 1].end
                raise ExpressionError("division-by-zero", "division by zero", start, end)
            value = self.checked(value * other if sign.text == "*" else value // other, sign)
        return value

    def factor(self, depth: int) -> int:
        negative = False
        while self.take("-") is not None:
            negative = not negative
        token = self.token
        if token.kind == "int":
            self.at += 1
            value = self.checked(int(token.text) if len(token.text) < 40 else _LARGEST, token)
        elif token.kind == "arg":
            self.at += 1
            value = self.lookup(token.text, token.start)
        elif self.take("(") is not None:
            if depth >= _MAX_PARENTHESES:
                raise ExpressionError("too-deep", "parentheses nested too deep", token.start, token.end)
            value = self.sum(depth + 1)
            if self.take(")") is None:
                self.fail("`)`")
        else:
            self.fail("a number, an argument or `(`")
        return -value if negative else value

    def checked(self, value: int, token: _Token) -> int:
        if not -_LARGEST <= value < _LARGEST:
            raise ExpressionError(
                "integer-too-large", "the result does not fit 64 bits", token.start, token.end
            )
        return value


# --- arguments --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """A value for `$name`. node None: not known. key is equal for equal values; size counts its parts."""

    node: Node | None
    key: Hashable
    size: int = 1
    depth: int = 0


UNKNOWN: Final = Argument(None, "?")


def argument(node: Node) -> Argument:
    """A node as an argument; unknown where a part of it could not be read."""
    measured = _measure(node)
    return UNKNOWN if measured is None else Argument(node, *measured)


def integer(value: int) -> Argument:
    """A number as an argument."""
    return argument(Scalar(value, str(value), None, True))


def _measure(node: Node) -> tuple[Hashable, int, int] | None:
    if isinstance(node, Scalar):
        return (type(node.value), node.value, node.text), 1, 0
    if isinstance(node, Broken) or not node.complete:
        return None
    keys: list[Hashable] = [isinstance(node, Mapping)]
    size, depth = 1, 0
    mapping = isinstance(node, Mapping)
    for child in node:
        value = child.value if isinstance(child, Entry) else child
        measured = _measure(value)
        if measured is None:
            return None
        keys.append((child.key.text, measured[0]) if isinstance(child, Entry) else measured[0])
        size += measured[1] + mapping
        depth = max(depth, measured[2])
    return tuple(keys), size, depth + 1


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The `$names` that mean something at a place: a block's arguments, and the number under `repeat`.

    sure False: some arguments could not be read, so no name is wrong.
    """

    block: str | None = None
    arguments: dict[str, Argument] = field(default_factory=dict)
    index: Argument | None = None
    sure: bool = True

    def get(self, name: str) -> Argument | None:
        """The argument of that name."""
        return self.index if name == INDEX else self.arguments.get(name)

    def keys(self, names: frozenset[str]) -> Hashable:
        """Equal for scopes that give these names the same values."""
        if not names:
            return ()
        found = [(name, self.get(name)) for name in sorted(names)]
        return tuple((name, value.key if value is not None else None) for name, value in found)

    def numbered(self, index: Argument) -> Scope:
        """The same under a repetition."""
        return replace(self, index=index)

    def blurred(self) -> Scope:
        """The same names with unknown values."""
        return Scope(self.block, dict.fromkeys(self.arguments, UNKNOWN), UNKNOWN, self.sure)


OUTSIDE: Final = Scope()
"""Outside all blocks."""


# --- substitution -----------------------------------------------------------------------------------


class Report(Protocol):
    """Takes what is wrong at a place."""

    def __call__(
        self,
        code: str,
        message: str,
        span: Span | None,
        path: tuple[str | int, ...],
        *,
        help: str | None = None,
    ) -> None: ...


class Substitution:
    """Puts arguments into nodes. A value that is not known, or wrong, becomes a `Broken` node."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.copied = 0
        self.refused = False
        self._used: dict[int, frozenset[str]] = {}

    def used(self, node: Node) -> frozenset[str]:
        """The `$names` in a node of a file (kept by identity, so never ask for a node that may go away)."""
        names = self._used.get(id(node))
        if names is None:
            names = self._used[id(node)] = _names(node)
        return names

    def apply(self, node: Node, scope: Scope, path: tuple[str | int, ...]) -> Node:
        """The node with every `$name` replaced; the node itself where it has none."""
        if isinstance(node, Scalar):
            return self.scalar(node, scope, path) if _is_expression(node) else node
        if isinstance(node, Sequence):
            items = [self.apply(item, scope, (*path, i)) for i, item in enumerate(node.items)]
            if all(new is old for new, old in zip(items, node.items, strict=True)):
                return node
            return Sequence(items, node.span, node.complete)
        if isinstance(node, Mapping):
            values = [self.apply(entry.value, scope, (*path, entry.key.text)) for entry in node.entries]
            if all(new is entry.value for new, entry in zip(values, node.entries, strict=True)):
                return node
            entries = [Entry(old.key, new) for old, new in zip(node.entries, values, strict=True)]
            return Mapping(entries, node.span, node.complete)
        return node

    def scalar(self, node: Scalar, scope: Scope, path: tuple[str | int, ...]) -> Node:
        """The value of one expression, at its place."""

        def number(name: str, offset: int) -> int:
            value = self.lookup(name, offset, scope).node
            if (
                isinstance(value, Scalar)
                and isinstance(value.value, int)
                and not isinstance(value.value, bool)
            ):
                return value.value
            got = describe(
                value.value if isinstance(value, Scalar) else [] if isinstance(value, Sequence) else {}
            )
            got = got if isinstance(value, Scalar) else "a list" if isinstance(value, Sequence) else got
            raise ExpressionError(
                "wrong-type", f"arithmetic needs integers: `${name}` is {got}", offset, offset + len(name) + 1
            )

        text = node.text
        try:
            if (whole := _WHOLE.fullmatch(text)) is not None:
                return self.copy(self.lookup(whole[1], 0, scope), node.span, path)
            result = evaluate(text, number)
            self.check_names(text, scope)
        except Unknown:
            return Broken(node.span)
        except ExpressionError as error:
            self.report(error.code, error.message, _part(node, error.start, error.end), path, help=error.help)
            return Broken(node.span)
        return Scalar(result, str(result), node.span, isinstance(result, int))

    def lookup(self, name: str, offset: int, scope: Scope) -> Argument:
        """The argument that `$name` means. Raises `ExpressionError`, and `Unknown` if it has no value."""
        found = scope.get(name)
        if found is not None:
            if found.node is None:
                raise Unknown
            return found
        if not scope.sure:
            raise Unknown
        end = offset + len(name) + 1
        if name == INDEX:
            raise ExpressionError(
                "unknown-argument",
                "`$index` is the number under `repeat`; nothing is repeated here",
                offset,
                end,
            )
        if scope.block is None:
            raise ExpressionError(
                "unknown-argument",
                f"`${name}` is outside all blocks: there are no arguments here",
                offset,
                end,
                "write the value, or put quotes around text that is meant as it is",
            )
        names = list(scope.arguments)
        advice = f"its arguments are {', '.join(names)}" if names else f"declare it: args: {{{name}: null}}"
        near = did_you_mean(name, names)
        raise ExpressionError(
            "unknown-argument",
            f"block {scope.block} has no argument `{name}`",
            offset,
            end,
            near.replace("`", "`$", 1) if near else advice,
        )

    def check_names(self, text: str, scope: Scope) -> None:
        """A bare name in an expression is a symbol; one that is an argument's lacks its `$`."""
        for token in _tokens(text):
            if token.kind == "name" and token.text in scope.arguments:
                raise ExpressionError(
                    "wrong-expression",
                    f"`{token.text}` is an argument",
                    token.start,
                    token.end,
                    f"write ${token.text}",
                )

    def copy(self, value: Argument, span: Span | None, path: tuple[str | int, ...]) -> Node:
        """An argument's value at another place."""
        assert value.node is not None
        self.copied += value.size - 1
        if self.copied > MAX_VALUES or value.depth > MAX_VALUE_DEPTH:
            if not self.refused:
                self.refused = True
                deep = value.depth > MAX_VALUE_DEPTH
                self.report(
                    "too-deep" if deep else "too-many-nodes",
                    f"the argument is nested more than {MAX_VALUE_DEPTH} deep"
                    if deep
                    else f"arguments bring more than {MAX_VALUES:,} values",
                    span,
                    path,
                )
            return Broken(span)
        return _at(value.node, span)


def _at(node: Node, span: Span | None) -> Node:
    if isinstance(node, Scalar):
        return Scalar(node.value, node.text, span, False)
    if isinstance(node, Sequence):
        return Sequence([_at(item, span) for item in node.items], span, node.complete)
    if isinstance(node, Mapping):
        return Mapping(
            [Entry(entry.key, _at(entry.value, span)) for entry in node.entries], span, node.complete
        )
    return node


def _is_expression(node: Scalar) -> bool:
    """A `$` in text without quotes, or in a text from Python, which knows no quotes."""
    return isinstance(node.value, str) and "$" in node.value and (node.plain or node.span is None)


def _names(node: Node) -> frozenset[str]:
    names: set[str] = set()
    stack = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, Scalar):
            if _is_expression(here):
                names.update(_WHOLE.findall(here.text) or (MALFORMED,))
        elif isinstance(here, Sequence):
            stack += here.items
        elif isinstance(here, Mapping):
            stack += [entry.value for entry in here.entries]
    return frozenset(names)


def _part(node: Scalar, start: int, end: int) -> Span | None:
    """Some characters of a scalar; the whole where it is not written as it reads."""
    span = node.span
    if span is None or span.text != node.text or start >= end:
        return span
    return Span(span.source, span.start + start, span.start + end)
