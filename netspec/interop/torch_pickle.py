"""The pickles inside PyTorch checkpoints, read without running anything.

Python's own unpickler imports what a file names and calls it. This one is a separate stack machine: a name
in the file (`torch._utils._rebuild_tensor_v2`, `os.system`) stays a name, "calling" it means looking it up
in the table below, and what the table lacks is refused. No import, call, attribute or `__setstate__`
depends on the file. What comes out are plain dicts, lists, tuples, numbers and texts, and the inert values
`Tensor`, `Opaque` and `Unsupported`.

Work is bounded by the file's size: no value is copied, hashed or compared at a size or depth that the file
chooses, a length is checked before anything is read, and the number of opcodes is limited. Source: the
opcodes are documented in CPython's `pickletools`, the calls in torch/_utils.py and torch/_tensor.py.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

MOST_OPCODES = 10_000_000
"""Of one pickle; a tensor takes about 40."""
LARGEST_PICKLE = 64 << 20
"""Bytes of one pickle; a tensor takes about 150."""
_LONGEST_LINE = 1000
_LONGEST_INTEGER = 255
_MOST_UNKNOWN = 1000
_MOST_AXES = 64
_DAMAGE = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error)
_HELP = "save model.state_dict() instead"


class PickleError(Exception):
    """The pickle is damaged, or wants something that is not done; the text says which."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name of Python code, never looked up."""

    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Numbers of one dtype under a key of the file; view: first element and count of a part of it."""

    dtype: str
    key: str
    numel: int
    view: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A strided view of a storage, all in elements; nothing is checked against the storage yet."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugate: bool = False
    negative: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """A harmless object whose value is of no interest here, such as a path or a NumPy scalar."""

    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Unsupported:
    """A tensor of a kind that is not supported, and why."""

    reason: str


@dataclass(slots=True, eq=False)
class _Instance:
    """An object that the pickle wants built: refused as soon as it is known what it is."""

    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Pickle:
    """A pickle's value, the byte after it, and the dtype of every storage that it names, by key."""

    value: Any
    end: int
    storages: dict[str, str]


def load_pickle(data: bytes | mmap.mmap, start: int = 0) -> Pickle:
    """The pickle that starts at this byte. Raises `PickleError`."""
    machine = _Machine(data, start)
    try:
        return Pickle(machine.run(), machine.position, machine.storages)
    except _DAMAGE as error:
        machine.refuse_unknown()
        raise PickleError(f"the pickle in it is damaged at byte {machine.position}") from error


# --- what a checkpoint may call ---------------------------------------------------------------------

_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
    "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
}  # fmt: skip
_STORAGE_OF = {
    f"{module}.{name}": dtype
    for module in ("torch", "torch.storage", "torch.cuda")
    for name, dtype in _STORAGES.items()
}

_DTYPES = {
    f"torch.{name}": name
    for name in (
        "float64", "float32", "float16", "bfloat16", "complex128", "complex64", "complex32", "bool",
        "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bits8", "bits16",
        "qint8", "quint8", "qint32", "quint4x2", "quint2x4", "float8_e4m3fn", "float8_e4m3fnuz",
        "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2",
    )
}  # fmt: skip

_OPAQUE = frozenset(
    {
        "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer",
        "torch.serialization._get_layout", "torch.per_tensor_affine", "torch.per_channel_affine",
        "argparse.Namespace", "types.SimpleNamespace", "datetime.datetime", "datetime.date",
        "datetime.timedelta", "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct", "collections.deque", "_codecs.encode",
        *(f"{module}.{name}" for module in ("pathlib", "pathlib._local")
          for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
        *(f"{module}.{name}" for module in ("builtins", "__builtin__")
          for name in ("bool", "int", "float", "complex", "str", "bytes", "bytearray", "list", "tuple",
                       "dict", "set", "frozenset", "slice", "range", "object")),
    }
)  # fmt: skip
"""Objects that stand beside weights in ordinary checkpoints: they are passed over, not made."""

_UNSUPPORTED = {
    "torch._utils._rebuild_qtensor": "is quantized",
    "torch._utils._rebuild_sparse_tensor": "is sparse",
    "torch._utils._rebuild_nested_tensor": "is a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "has no values (it was saved on the meta device)",
    "torch._utils._rebuild_wrapper_subclass": "is of a tensor subclass",
    "torch._utils._rebuild_device_tensor_from_numpy": "is in the format of another device",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "is in the format of another device",
    "torch._utils._rebuild_xla_tensor": "is in the format of another device",
}


def _rebuild_tensor(args: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, strides = args
    return _tensor(storage, storage.dtype, offset, shape, strides, None)


def _rebuild_tensor_v2(args: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, strides, _requires_grad, _hooks, *rest = args
    return _tensor(storage, storage.dtype, offset, shape, strides, rest[0] if rest else None)


def _rebuild_tensor_v3(args: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, strides, _requires_grad, _hooks, dtype, *rest = args
    return _tensor(storage, _DTYPES[dtype.path], offset, shape, strides, rest[0] if rest else None)


def _tensor(storage: Any, dtype: str, offset: Any, shape: Any, strides: Any, metadata: Any) -> Tensor:
    """Raises TypeError or ValueError for arguments that `torch.save` does not write."""
    if type(shape) is not tuple or type(strides) is not tuple or max(len(shape), len(strides)) > _MOST_AXES:
        raise TypeError
    if type(storage) is not Storage or not all(type(n) is int for n in (offset, *shape, *strides)):
        raise TypeError
    flags = metadata if type(metadata) is dict else {}
    return Tensor(storage, dtype, offset, shape, strides, flags.get("conj") is True, flags.get("neg") is True)


def _rebuild_parameter(args: tuple[Any, ...]) -> Any:
    """torch._utils._rebuild_parameter and _with_state: the tensor is the first argument."""
    data = args[0]
    if type(data) not in (Tensor, Unsupported):
        raise TypeError
    return data


def _rebuild_from_type(args: tuple[Any, ...]) -> Any:
    """torch._tensor._rebuild_from_type_v2(function, type, arguments, state): a tensor with attributes."""
    function, kind, arguments, _state = args
    if type(function) is not Global or type(kind) is not Global or type(arguments) is not tuple:
        raise TypeError
    plain = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")
    if kind.path not in plain:
        return Unsupported(f"is a {kind.path}")
    if function.path in _UNSUPPORTED:
        return Unsupported(_UNSUPPORTED[function.path])
    return _REBUILD[function.path](arguments)


def _dictionary(args: tuple[Any, ...]) -> dict[Any, Any]:
    """collections.OrderedDict() or Counter(), of a dict or (Python 2) of a list of pairs."""
    given = args[0] if args else {}
    if type(given) is dict:
        return given  # not a copy: a short pickle could ask for thousands of a long one
    if type(given) is not list:
        raise TypeError
    found = {}
    for pair in given:
        if type(pair) not in (list, tuple):
            raise TypeError
        key, value = pair
        found[_key(key)] = value
    given.clear()  # the same list a thousand times gives one dict
    return found


def _default_dictionary(args: tuple[Any, ...]) -> dict[Any, Any]:
    return _dictionary(args[1:])


def _size(args: tuple[Any, ...]) -> tuple[Any, ...]:
    (shape,) = args
    if type(shape) is not tuple:
        raise TypeError
    return shape


_REBUILD: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
}
_CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    **_REBUILD,
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "collections.defaultdict": _default_dictionary,
    "torch.Size": _size,
}
_KNOWN = {
    path: Global(path)
    for path in (
        *_CALLS,
        *_STORAGE_OF,
        *_DTYPES,
        *_OPAQUE,
        *_UNSUPPORTED,
        "torch.sparse_coo",
        "torch.strided",
    )
}


def _key(key: Any) -> Any:
    """A dict key. Names and small integers are kept; anything else, which could collide or take long to
    hash, becomes a key of its own."""
    if type(key) is str or (type(key) is int and abs(key) < 1 << 60):
        return key
    return Opaque("key")


# --- the machine ------------------------------------------------------------------------------------


class _Machine:
    def __init__(self, data: bytes | mmap.mmap, start: int) -> None:
        self.data = data
        self.position = start
        self.end = min(len(data), start + LARGEST_PICKLE)
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, str] = {}
        self.unknown: list[str] = []
        self.open: list[_Instance] = []

    def run(self) -> Any:
        """The value at STOP."""
        table: list[Callable[[_Machine], None] | None] = [_OPCODES.get(code) for code in range(256)]
        for _ in range(MOST_OPCODES):
            if self.position >= self.end:
                self.truncated()
            code = self.data[self.position]
            self.position += 1
            if code == 0x2E:  # STOP
                value = self.stack.pop()
                self.refuse_unknown()
                return value
            action = table[code]
            if action is None:
                self.refuse_opcode(code)
            action(self)
        raise PickleError(f"the pickle in it has more than {MOST_OPCODES:,} opcodes")

    # --- refusals

    def refuse_unknown(self) -> None:
        """Refuse what the pickle named so far and this module does not know."""
        if self.open:
            self.refuse_object(self.open[0].path)
        if self.unknown:
            raise PickleError(f"the checkpoint wants to use {self.unknown[0]}, which is never looked up")

    def refuse_call(self, path: str) -> NoReturn:
        inside = f"; it holds an object of class {self.open[0].path}: {_HELP}" if self.open else ""
        raise PickleError(f"the checkpoint wants to call {path}, which is never done{inside}")

    def refuse_object(self, path: str) -> NoReturn:
        raise PickleError(
            f"the checkpoint wants to build an object of class {path}, which is never done; {_HELP}"
        )

    def refuse_module(self, path: str) -> NoReturn:
        raise PickleError(f"the checkpoint holds a whole module of class {path}: {_HELP}")

    def refuse_opcode(self, code: int) -> NoReturn:
        self.refuse_unknown()
        import pickletools

        for opcode in pickletools.opcodes:
            if opcode.code == chr(code):
                raise PickleError(f"the pickle in it uses {opcode.name}, which torch.save does not write")
        raise PickleError(f"the pickle in it is damaged at byte {self.position - 1}")

    def truncated(self) -> NoReturn:
        if self.end < len(self.data):
            raise PickleError(f"the pickle in it is longer than {LARGEST_PICKLE >> 20} MiB")
        raise PickleError("the pickle in it is truncated")

    # --- reading

    def take(self, count: int) -> bytes:
        """The next bytes; a count beyond the end of the data is refused before anything is allocated."""
        start, stop = self.position, self.position + count
        if stop > self.end:
            self.truncated()
        self.position = stop
        return self.data[start:stop]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def line(self) -> str:
        stop = self.data.find(b"\n", self.position, min(self.end, self.position + _LONGEST_LINE))
        if stop < 0:
            raise ValueError
        text = self.take(stop - self.position).decode("utf-8")
        self.position += 1
        return text

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    # --- names

    def push_global(self, module: str, name: str) -> None:
        if len(module) + len(name) > _LONGEST_LINE:
            raise ValueError
        path = f"{module}.{name}"
        known = _KNOWN.get(path)
        if known is None:
            path = path if path.isprintable() and len(path) < 200 else ascii(path)[1:200]
            self.unknown.append(path)
            if len(self.unknown) > _MOST_UNKNOWN:
                self.refuse_unknown()
        self.stack.append(known or Global(path))

    def op_global(self) -> None:
        module = self.line()
        self.push_global(module, self.line())

    def op_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError
        self.push_global(module, name)

    # --- calls, none of which is made

    def op_reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Global:
            raise TypeError
        path = function.path
        if path in _CALLS:
            if type(args) is not tuple:
                raise TypeError
            self.stack.append(_CALLS[path](args))
        elif path in _UNSUPPORTED:
            self.stack.append(Unsupported(_UNSUPPORTED[path]))
        elif path in _OPAQUE:
            self.stack.append(Opaque(path))
        else:
            self.refuse_call(path)

    def op_inst(self) -> None:
        self.op_global()
        self.refuse_call(self.stack[-1].path)

    def op_obj(self) -> None:
        kind = self.pop_mark()[0]
        if type(kind) is not Global:
            raise TypeError
        self.refuse_call(kind.path)

    def op_newobj(self) -> None:
        self.stack.pop()  # the arguments
        kind = self.stack.pop()
        if type(kind) is not Global:
            raise TypeError
        if kind.path in ("collections.OrderedDict", "collections.defaultdict", "collections.Counter"):
            self.stack.append({})
        elif kind.path in _OPAQUE:
            self.stack.append(Opaque(kind.path))
        else:
            # Its state tells a module from other objects, and comes later; until then it is only a name.
            self.open.append(_Instance(kind.path))
            self.stack.append(self.open[-1])

    def op_newobj_ex(self) -> None:
        self.stack.pop()  # the keyword arguments
        self.op_newobj()

    def op_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is _Instance:
            if type(state) is dict and "_parameters" in state and "_modules" in state:
                self.refuse_module(self.open[0].path)
            self.refuse_object(target.path)
        if type(target) not in (dict, Opaque):  # an OrderedDict's `_metadata` is of no use here
            raise TypeError

    def op_persistent(self) -> None:
        pid = self.stack.pop()
        if type(pid) is not tuple or not pid:
            raise TypeError
        if pid[0] == "module" and len(pid) > 1 and type(pid[1]) is Global:
            self.refuse_module(pid[1].path)
        kind, storage_type, key, _location, numel, *view = pid
        if kind != "storage" or type(storage_type) is not Global or type(key) is not str:
            raise TypeError
        if type(numel) is not int or numel < 0:
            raise ValueError
        if storage_type.path not in _STORAGE_OF:
            self.refuse_call(storage_type.path)
        storage = Storage(_STORAGE_OF[storage_type.path], key, numel)
        self.storages.setdefault(key, storage.dtype)
        if view and view[0] is not None:
            _view_key, first, count = view[0]
            if not all(type(n) is int and n >= 0 for n in (first, count)):
                raise ValueError
            storage = replace(storage, view=(first, count))
        self.stack.append(storage)

    # --- containers

    def op_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def op_setitems(self) -> None:
        self.set_items(self.pop_mark())

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) in (Opaque, _Instance):
            return
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for index in range(0, len(items), 2):
            target[_key(items[index])] = items[index + 1]

    def op_append(self) -> None:
        self.extend([self.stack.pop()])

    def op_appends(self) -> None:
        self.extend(self.pop_mark())

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) in (Opaque, _Instance):
            return
        if type(target) is not list:
            raise TypeError
        target.extend(items)

    def op_tuple(self) -> None:
        items = tuple(self.pop_mark())
        self.stack.append(items)

    def op_list(self) -> None:
        items = self.pop_mark()
        self.stack.append(items)

    def op_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self.set_items(items)

    def last(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def op_mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    # --- memo

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    # --- plain values

    def long(self, count: int) -> None:
        if count > _LONGEST_INTEGER:
            raise ValueError
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def text(self, count: int) -> None:
        self.stack.append(self.take(count).decode("utf-8", "surrogatepass"))

    def old_text(self, count: int) -> None:
        """A `str` of Python 2."""
        data = self.take(count)
        try:
            self.stack.append(data.decode("utf-8"))
        except UnicodeDecodeError:
            self.stack.append(data)

    def push_bytes(self, count: int) -> None:
        self.stack.append(self.take(count))

    def text_form(self) -> None:
        """A number or text of protocol 0, which `torch.save` cannot use: read on, to say what is wanted."""
        self.line()
        self.stack.append(Opaque("text"))

    def skip_mark(self) -> None:
        self.pop_mark()
        self.stack.append(Opaque("set"))

    def push(self, value: Any) -> None:
        self.stack.append(value)


_OPCODES: dict[int, Callable[[_Machine], Any]] = {
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME
    ord("c"): _Machine.op_global,
    0x93: _Machine.op_stack_global,
    ord("R"): _Machine.op_reduce,
    0x81: _Machine.op_newobj,
    0x92: _Machine.op_newobj_ex,
    ord("b"): _Machine.op_build,
    ord("Q"): _Machine.op_persistent,
    ord("("): _Machine.op_mark,
    ord("t"): _Machine.op_tuple,
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.last(1),
    0x86: lambda m: m.last(2),
    0x87: lambda m: m.last(3),
    ord("]"): lambda m: m.push([]),
    ord("l"): _Machine.op_list,
    ord("a"): _Machine.op_append,
    ord("e"): _Machine.op_appends,
    ord("}"): lambda m: m.push({}),
    ord("d"): _Machine.op_dict,
    ord("s"): _Machine.op_setitem,
    ord("u"): _Machine.op_setitems,
    0x8F: lambda m: m.push(Opaque("set")),
    0x90: lambda m: m.pop_mark(),  # ADDITEMS
    0x91: _Machine.skip_mark,  # FROZENSET
    ord("0"): lambda m: m.stack.pop(),  # POP
    ord("1"): lambda m: m.pop_mark(),  # POP_MARK
    ord("2"): lambda m: m.push(m.stack[-1]),  # DUP
    ord("q"): lambda m: m.put(m.number(1)),
    ord("r"): lambda m: m.put(m.number(4)),
    0x94: lambda m: m.put(len(m.memo)),  # MEMOIZE
    ord("h"): lambda m: m.push(m.memo[m.number(1)]),
    ord("j"): lambda m: m.push(m.memo[m.number(4)]),
    ord("p"): lambda m: m.put(int(m.line())),
    ord("g"): lambda m: m.push(m.memo[int(m.line())]),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),
    ord("K"): lambda m: m.push(m.number(1)),
    ord("M"): lambda m: m.push(m.number(2)),
    0x8A: lambda m: m.long(m.number(1)),
    0x8B: lambda m: m.long(m.number(4)),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("X"): lambda m: m.text(m.number(4)),
    0x8C: lambda m: m.text(m.number(1)),
    0x8D: lambda m: m.text(m.number(8)),
    ord("T"): lambda m: m.old_text(m.number(4)),
    ord("U"): lambda m: m.old_text(m.number(1)),
    ord("B"): lambda m: m.push_bytes(m.number(4)),
    ord("C"): lambda m: m.push_bytes(m.number(1)),
    0x8E: lambda m: m.push_bytes(m.number(8)),
    0x96: lambda m: m.push_bytes(m.number(8)),  # BYTEARRAY8
    **dict.fromkeys(b"FILSV", _Machine.text_form),
    ord("i"): _Machine.op_inst,
    ord("o"): _Machine.op_obj,
}
"""What each opcode does. STOP is in `run`; the others (EXT1, EXT2, EXT4, PERSID, buffers) are refused."""
