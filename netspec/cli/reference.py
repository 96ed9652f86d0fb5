"""`netspec schema` and `netspec layers`: what there is, for editors and for people."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError, did_you_mean
from netspec.document import read_text, to_python
from netspec.interop.files import write_beside
from netspec.layers import REGISTRY, Layer
from netspec.layers.documentation import example, summary
from netspec.network.schema import parameter_fields, parameter_schemas, signature
from netspec.network.schema_parts import Json, render, types
from netspec.report.tables import Table, width

# --- netspec schema ---------------------------------------------------------------------------------


def run_schema(kind: str, output: Path | None) -> None:
    """Print the JSON Schema of network files or of run profiles, or write it to a file."""
    text = render(_schema(kind))
    if output is None:
        print(text, end="")
        return
    if output.is_dir():
        raise InputError(f"cannot write {output}: it is a folder")
    try:
        with write_beside(output) as file:
            file.write(text.encode("ascii"))
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}") from None
    print(f"wrote {output}", file=sys.stderr)


def _schema(kind: str) -> Json:
    if kind == "runner":
        from netspec.runtime.schema import profile_schema

        return profile_schema()
    from netspec.network.schema import network_schema

    return network_schema()


# --- netspec layers ---------------------------------------------------------------------------------


def run_layers(type: str | None) -> None:
    """Print a table of all types, or one type's reference."""
    if type is None:
        print(all_types())
        return
    cls = REGISTRY.get(type)
    if cls is None:
        advice = did_you_mean(type, REGISTRY) or "`netspec layers` lists them"
        raise InputError(f"there is no layer type `{type}`; {advice}")
    print(reference(cls))


def all_types() -> str:
    """Every type with its sentence, by families."""
    families: dict[str, list[Any]] = {}
    for cls in REGISTRY.values():
        families.setdefault(cls.__module__, []).append(cls)
    size = max(width(name) for name in REGISTRY)
    blocks = []
    for module, members in families.items():
        rows = [(cls.type_name, _sentence(summary(cls))) for cls in members]
        title = _sentence(sys.modules[module].__doc__ or module)
        blocks.append(_section(title, _columns(rows, size, indent=2)))
    return "\n\n".join(blocks)


def reference(cls: type[Layer]) -> str:
    """All that is known about one type."""
    parts = ["\n".join(_wrapped(signature(cls), "    ")), "\n".join(_wrapped(summary(cls)))]
    parts.append(_section("Parameters", _parameters(cls)))
    parts.append(_section("Inputs and outputs", _shapes(cls)))
    if state := _state(cls):
        parts.append(_section("State", state))
    if shown := example(cls):
        parts.append(_section("Example", [f"- {shown}"]))
    parts.append(cls.source)
    return "\n\n".join(part for part in parts if part)


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(f"  {line}".rstrip() for line in lines)]) if lines else ""


def _parameters(cls: type[Layer]) -> list[str]:
    schemas = parameter_schemas(cls)
    rows = []
    for name, (_, info) in parameter_fields(cls).items():
        schema = schemas[name]
        text = schema.get("markdownDescription", "").split("\n\nDefault:")[0].replace("\\", "")
        if info.is_required():
            default = "required"
        else:
            default = "from input" if name in cls.inferred else _word(info.default)
        rows.append((name, type_words(schema), default, text))
    if not rows:
        return []
    table = Table(("parameter", "type", "default"), "lll")
    for row in rows:
        table.add(*row[:3])
    heads = table.text().split("\n")
    size = max(width(line) for line in heads)
    body = zip(heads[2:], (row[3] for row in rows), strict=True)
    title = [f"{heads[0]:<{size}}  description", f"{heads[1]:<{size}}  {'─' * 11}"]
    return [*title, *_columns(list(body), size, indent=2)]


def type_words(schema: Json) -> str:
    """A parameter's schema in words: `integer >= 1 or list of 2`."""
    if "anyOf" in schema:
        return " or ".join(type_words(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(_word(value) for value in schema["enum"])
    words = []
    for name in types(schema):
        if name in ("integer", "number"):
            words.append(name + _range(schema))
        elif name == "array":
            words.append(_list_words(schema))
        else:
            words.append({"boolean": "bool", "object": "mapping", "string": "text"}.get(name, name))
    return " or ".join(words) or "any"


def _range(schema: Json) -> str:
    marks = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    found = [f" {mark} {schema[key]:g}" for key, mark in marks.items() if key in schema]
    return ",".join(found)


def _list_words(schema: Json) -> str:
    low, high = schema.get("minItems"), schema.get("maxItems")
    if high is None:
        return "list"
    return f"list of {high}" if low in (high, 1) else f"list of {low} to {high}"


def _word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_word(item) for item in value)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _shapes(cls: type[Layer]) -> list[str]:
    least, most = cls.arity
    if most == 0:
        count = "none"
    else:
        names = ", ".join(cls.input_names)
        number = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        count = f"{names} ({number})" if number != "1" or len(cls.input_names) > 1 else names
    lines = [f"inputs: {count}"]
    layer = _example_layer(cls)
    if layer is not None:
        ports = layer.ports()
        lines.append(f"outputs: {'numbered, 0, 1, ...' if ports is None else ', '.join(ports)}")
    if doc := _first_line(cls.infer):
        lines += _wrapped(f"shapes: {doc}", "  ")
    return lines


def _state(cls: type[Layer]) -> list[str]:
    """What the type says about its arrays, and those of its example where that fixes them."""
    if cls.state is Layer.state:
        return []
    lines = _wrapped(_first_line(cls.state)) if _first_line(cls.state) else []
    layer = _example_layer(cls)
    if layer is not None and all(getattr(layer, name) is not None for name in cls.inferred):
        shown = [f"{s.name or 'the entry itself'} {list(s.shape)}" for s in layer.state()]
        if shown:
            lines.append(f"of the example: {', '.join(shown)}")
    return lines


def _example_layer(cls: type[Layer]) -> Layer | None:
    shown = example(cls)
    if not shown:
        return None
    mapping = to_python(read_text(shown).root)
    return cls.model_validate({key: value for key, value in mapping.items() if key != "type"})


# --- text -------------------------------------------------------------------------------------------


def _first_line(function: Any) -> str:
    return (function.__doc__ or "").strip().split("\n")[0]


def _sentence(text: str) -> str:
    """The first sentence, on one line."""
    joined = " ".join(text.strip().split("\n\n")[0].split())
    return joined.split(". ")[0].rstrip(".")


def _room() -> int | None:
    """Columns of the terminal; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _wrapped(text: str, indent: str = "") -> list[str]:
    room = _room()
    if room is None:
        return text.split("\n")
    return [part for line in text.split("\n")
            for part in textwrap.wrap(line, max(room - 2, 40), subsequent_indent=indent) or [""]]  # fmt: skip


def _columns(rows: list[tuple[str, str]], size: int, indent: int = 0) -> list[str]:
    """Two columns; the second is wrapped under itself on a terminal."""
    room = _room()
    lines = []
    for left, right in rows:
        space = " " * (size - width(left) + 2)
        cells = [right] if room is None else textwrap.wrap(right, max(room - size - 4 - indent, 30)) or [""]
        lines.append(f"{left}{space}{cells[0]}".rstrip())
        lines += [" " * (size + 2) + cell for cell in cells[1:]]
    return lines
