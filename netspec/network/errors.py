"""Pydantic's findings as diagnostics: where in the text, what was expected, what is nearest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from netspec.diagnostics import Diagnostic, Note, Span, SpecError, did_you_mean, format_path, nearest
from netspec.document import Broken, Mapping, Node, walk_path


def diagnostics_of(
    error: ValidationError,
    model: type[BaseModel],
    what: str,
    node: Node | None,
    path: tuple[str | int, ...],
    *,
    options: Sequence[str] = (),
    complete: bool = True,
    notes: tuple[Note, ...] = (),
) -> Iterable[Diagnostic]:
    """One diagnostic for each finding about `what` (a type's name), which stands at `node`.

    options: the keys that are valid there. complete False: the text breaks off, so nothing is missing.
    """
    findings = error.errors(include_url=False, include_input=True)
    for finding in findings:
        loc = tuple(p for p in finding["loc"] if isinstance(p, str | int))
        context: dict[str, Any] = finding.get("ctx") or {}
        kind = finding["type"]
        inner = bool(loc[:-1])
        parent = walk_path(node, loc[:-1]) if inner else node
        owner = f"`{format_path(loc[:-1])}`" if inner and kind in ("missing", "extra_forbidden") else what
        if kind == "missing":
            parameter = str(loc[-1])
            known = _known(loc) if inner else options
            misspelt = [f["loc"][-1] for f in findings if f["type"] == "extra_forbidden"
                        and f["loc"][:-1] == loc[:-1] and nearest(str(f["loc"][-1]), known) == [parameter]]  # fmt: skip
            if not complete or misspelt:
                continue
            yield Diagnostic(
                "missing-key" if inner or what in WHOLES else "missing-parameter",
                "error",
                f"{owner} needs `{parameter}`",
                _entry_span(parent),
                format_path((*path, *loc[:-1])),
                notes,
                _purpose(model, parameter),
            )
        elif kind == "extra_forbidden":
            known = _known(loc) if inner else options
            yield unknown_key(owner, str(loc[-1]), known, node, (*path, *loc), loc, notes)
        else:
            if "field" in context:
                loc = (*loc, context["field"])
            code = kind if "-" in kind else _CODES.get(kind, "wrong-type")
            message = finding["msg"] if "-" in kind else _plain(finding)
            span, found = _value_span(node, loc)
            if kind == "unknown-key" and "key" in context:
                parent = walk_path(node, found)
                key = parent.key_node(context["key"]) if isinstance(parent, Mapping) else None
                span = key.span if key is not None else span
            shown = found or loc
            label = f"`{format_path(shown)}`: " if shown else ""
            yield Diagnostic(
                code,
                "error",
                label + message,
                span,
                format_path((*path, *found)),
                notes,
                context.get("help") or _suggestion(context),
            )


def unknown_key(
    what: str,
    key: str,
    options: Sequence[str],
    node: Node | None,
    path: tuple[str | int, ...],
    loc: tuple[str | int, ...],
    notes: tuple[Note, ...] = (),
) -> Diagnostic:
    """A key that is not known there."""
    parent = walk_path(node, loc[:-1])
    key_node = parent.key_node(key) if isinstance(parent, Mapping) else None
    advice = did_you_mean(key, options)
    if advice is None and options:
        shown = ", ".join(options[:12]) + (", ..." if len(options) > 12 else "")
        advice = f"known here: {shown}"
    word = "key" if what in WHOLES or what.startswith("`") else "parameter"
    return Diagnostic(
        "unknown-key",
        "error",
        f"{what} has no {word} `{key}`",
        key_node.span if key_node is not None else None,
        format_path(path),
        notes,
        advice,
    )


def spec_error(model: type[BaseModel], error: ValidationError) -> SpecError:
    """The error of a layer that was built in Python."""
    name = getattr(model, "type_name", model.__name__)
    options = model.known_keys() if hasattr(model, "known_keys") else list(model.model_fields)
    return SpecError(list(diagnostics_of(error, model, name, None, (name,), options=options)))


WHOLES = ("the network", "the run profile", "an entry", "a nested list", "a use")
"""What has keys; layers have parameters."""

_INNER = {
    "inputs": ("shape", "dtype", "description", "picture"),
    "outputs": ("from", "labels"),
    "picture": ("resize", "crop", "mean", "std", "interpolation"),
}
"""What the mappings below these keys may hold; names stand between two of them."""
_CODES = {"string_type": "wrong-type", "list_type": "wrong-type", "dict_type": "wrong-type"}
_WORDS = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
}


def _known(loc: tuple[str | int, ...]) -> Sequence[str]:
    """The keys of the innermost known mapping: `inputs`, a name, `picture`, then the key itself."""
    return next((_INNER[str(key)] for key in reversed(loc[:-1:2]) if key in _INNER), ())


def _plain(finding: Any) -> str:
    from netspec.layers.parameters import describe

    expected = _WORDS.get(finding["type"])
    return f"expected {expected}, got {describe(finding['input'])}" if expected else str(finding["msg"])


def _suggestion(context: dict[str, Any]) -> str | None:
    if "word" not in context:
        return None
    return did_you_mean(str(context["word"]), context["options"]) or (
        "one of " + ", ".join(map(str, context["options"]))
    )


def _entry_span(node: Node | None) -> Span | None:
    """The place of an entry as a whole: its `type`, so that a long mapping is not underlined."""
    if isinstance(node, Mapping):
        for key in ("type", "block", "name"):
            value = node.get(key)
            if value is not None and not isinstance(value, Broken):
                return value.span
        if len(node) and node.entries[0].key.span is not None:
            return node.entries[0].key.span
    return node.span if node is not None else None


def _value_span(node: Node | None, loc: tuple[str | int, ...]) -> tuple[Span | None, tuple[str | int, ...]]:
    """The deepest value on the way: parts that are no key there (a shorthand's field, a validator's name)
    are passed over."""
    here, found = node, list[str | int]()
    for part in loc:
        inner = walk_path(here, (part,))
        if inner is not None:
            here = inner
            found.append(part)
    if here is None or not found:
        return _entry_span(node), ()
    return here.span, tuple(found)


def _purpose(model: type[BaseModel], parameter: str) -> str | None:
    from netspec.layers.documentation import field_docs

    text = field_docs(model).get(parameter)
    return f"{parameter}: {text[0].lower()}{text[1:].rstrip('.')}" if text else None
