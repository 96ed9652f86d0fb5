"""What a layer is: parameters, a shape rule, state, and a computation, in one class.

A layer class is a Pydantic model whose fields are torch's parameters in torch's order. It states

- `infer(call)`: the types of its outputs from those of its inputs, refusing what torch refuses;
- `state()`: the arrays it owns, under torch's state-dict names;
- `lower(b, *inputs)`: its computation as `netspec.operations`;
- `macs(call, outputs)`: its multiply-adds, where it has any.

Everything else (the schema, the reference page, the tests' tables) is read off the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from netspec.layers.initialize import Init, InitMethod, refusal
from netspec.layers.parameters import Name, References
from netspec.layers.registry import Registry
from netspec.layers.tensor import TensorType, format_shape, is_inexact
from netspec.symbolic import Condition, ConstraintSet, Dim

if TYPE_CHECKING:
    from netspec.program.builder import Builder, Value

REGISTRY = Registry(Path(__file__).parent, __name__.rpartition(".")[0])
"""Type name -> class, in order of definition."""

COMMON = ("name", "inputs", "init")
"""Fields that every entry may have beside torch's parameters."""


@dataclass(frozen=True, slots=True)
class State:
    """One array that a layer owns.

    name: state-dict name within the layer; dtype None: the network's. buffers are not counted as
    parameters; an optional one may be missing from a checkpoint.
    """

    name: str
    shape: tuple[int, ...]
    init: Any
    dtype: str | None = None
    buffer: bool = False
    optional: bool = False


class ShapeError(Exception):
    """A layer refuses its inputs; the graph turns it into a diagnostic with places."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "shape-mismatch",
        parameter: str | None = None,
        inputs: Sequence[int] = (0,),
        notes: Sequence[str] = (),
        help: str | None = None,
        fix: tuple[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.parameter = parameter
        self.inputs = tuple(inputs)
        self.notes = tuple(notes)
        self.help = help
        self.fix = fix


@dataclass(slots=True)
class Call:
    """One call of a layer while shapes are inferred: the types that arrive, and a place to refuse them.

    dtype is the network's floating dtype; size_of the tensor that `output_size` names;
    symbols the network's named sizes.
    """

    inputs: tuple[TensorType, ...]
    constraints: ConstraintSet
    dtype: str = "float32"
    training: bool = False
    size_of: TensorType | None = None
    symbols: dict[str, Dim] = field(default_factory=dict)
    warnings: list[ShapeError] = field(default_factory=list)

    @property
    def x(self) -> TensorType:
        """The first input."""
        return self.inputs[0]

    def fail(self, message: str, **where: Any) -> NoReturn:
        """Refuse the call; keywords are those of `ShapeError`."""
        raise ShapeError(message, **where)

    def warn(self, message: str, **where: Any) -> None:
        """Say something that torch accepts but the author may not mean."""
        self.warnings.append(ShapeError(message, **where))

    def require(self, condition: Condition | bool, message: str, **where: Any) -> None:
        """Refuse unless the condition holds; a condition on named sizes is kept for the user."""
        if condition is True:
            return
        if condition is False:
            self.fail(message, **where)
        if not self.constraints.add(condition):
            earlier = ", ".join(str(c) for c in self.constraints.conflict_with(condition))
            notes = [*where.pop("notes", ()), f"this needs {condition}"]
            if earlier:
                notes.append(f"earlier layers need {earlier}")
            self.fail(message, notes=notes, **where)

    def need_rank(self, *ranks: int, axes: str, index: int = 0) -> TensorType:
        """The input, refused unless it has one of these numbers of axes; `axes` shows the layout."""
        tensor = self.inputs[index]
        if tensor.rank not in ranks:
            expected = " or ".join(f"{r}-D" for r in ranks)
            self.fail(
                f"expected {expected} input {axes}, got {tensor.rank}-D {tensor}",
                code="wrong-rank",
                inputs=(index,),
                help=_rank_help(tensor, ranks),
            )
        return tensor

    def need_float(self, index: int = 0, *, complex_too: bool = True) -> str:
        """The input's dtype, refused unless it is floating."""
        tensor = self.inputs[index]
        if not is_inexact(tensor.dtype) or (tensor.dtype.startswith("complex") and not complex_too):
            self.fail(
                f"expected {'a floating' if complex_too else 'a real floating'} dtype, got {tensor.dtype}",
                code="wrong-dtype",
                inputs=(index,),
            )
        return tensor.dtype

    def need_weight_dtype(self, index: int = 0) -> str:
        """The input's dtype, refused unless it is that of the network's parameters."""
        tensor = self.inputs[index]
        if tensor.dtype != self.dtype:
            self.fail(
                f"expected {self.dtype}, as the layer's weights are, got {tensor.dtype}",
                code="wrong-dtype",
                inputs=(index,),
            )
        return tensor.dtype

    def axis(self, dim: int, rank: int, parameter: str = "dim") -> int:
        """`dim` counted from the front; torch lets a 0-d tensor have dims 0 and -1."""
        limit = max(rank, 1)
        if not -limit <= dim < limit:
            self.fail(
                f"{parameter} must be between {-limit} and {limit - 1} for a {rank}-D tensor, got {dim}",
                code="axis-out-of-range",
                parameter=parameter,
            )
        return dim % limit


def _rank_help(tensor: TensorType, ranks: Sequence[int]) -> str | None:
    if tensor.rank == 4 and ranks == (2,):
        return "insert a Flatten layer before it"
    return None


class Layer(BaseModel):
    """Base of all layers; a subclass whose name has no leading underscore is a type users can write."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, defer_build=True, arbitrary_types_allowed=True
    )

    type_name: ClassVar[str] = ""
    """The `type:` users write."""
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    """Least and most number of inputs; None: any number."""
    input_names: ClassVar[tuple[str, ...]] = ("input",)
    """What each input is, for messages and the reference."""
    inferred: ClassVar[dict[str, int]] = {}
    """Parameters that may be left out, and the axis of the first input that gives them."""
    reference_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters whose single value is a reference, and so read as text."""
    parameter_names: ClassVar[tuple[str, ...]] = ()
    """Names that `init` may give values to."""
    source: ClassVar[str] = ""
    """Page of torch's documentation."""

    name: Name | None = None
    """Name in its list; default: the entry's position."""
    inputs: References | None = None
    """Where the inputs come from: a reference or a list of them; default: the previous entry."""
    init: dict[str, Init] | None = None
    """Initial values per parameter: a number, a nested list, or {method: xavier_normal, gain: 1.0}."""

    _origin: Any = PrivateAttr(default=None)

    def __init_subclass__(cls, type: str | None = None, **kwargs: Any) -> None:
        # Pydantic hands `type=` on to both hooks; this one must let it pass.
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, type: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            cls.type_name = type or cls.__name__
            if not cls.source:
                page = "torch" if cls.type_name.islower() else "torch.nn"
                cls.source = f"https://pytorch.org/docs/stable/generated/{page}.{cls.type_name}.html"
            REGISTRY.add(cls.type_name, cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Parameters by position in torch's order, or by keyword; a wrong one raises `SpecError`."""
        names = self.own_parameters()
        if len(args) > len(names):
            raise TypeError(f"{self.type_name} takes at most {len(names)} positional parameters")
        for name, value in zip(names, args, strict=False):
            if name in kwargs:
                raise TypeError(f"{self.type_name} got {name} twice")
            kwargs[name] = value
        try:
            super().__init__(**kwargs)
        except ValidationError as error:
            from netspec.network.errors import spec_error

            raise spec_error(type(self), error) from None

    # Pydantic then fills the fields itself when it validates, without this __init__.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @field_validator("init")
    @classmethod
    def _known_names(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for key in value or ():
            if key not in cls.parameter_names:
                raise PydanticCustomError(
                    "unknown-key",
                    "{type} has no parameter {key} to initialise",
                    {"type": cls.type_name, "key": key, "word": key, "options": list(cls.parameter_names)},
                )
        return value

    @classmethod
    def own_parameters(cls) -> list[str]:
        """torch's parameters of this type, in torch's order; one that replaces a common field comes last."""
        overridden = [key for key in COMMON if key in cls.__annotations__]
        return [key for key in cls.known_keys() if key not in COMMON] + overridden

    @classmethod
    def known_keys(cls) -> list[str]:
        """Every key that an entry of this type may have, as it is written."""
        return [info.alias or key for key, info in cls.model_fields.items()]

    # --- what a subclass states ---------------------------------------------------------------------

    def infer(self, call: Call) -> TensorType | tuple[TensorType, ...]:
        """Types of the outputs; raises `ShapeError`."""
        raise NotImplementedError

    def lower(self, b: Builder, *inputs: Value) -> Value | Sequence[Value]:
        """The computation as operations; shapes are ints here, and already accepted by `infer`."""
        raise NotImplementedError

    def state(self) -> tuple[State, ...]:
        """The arrays that the layer owns."""
        return ()

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Multiply-adds of one call (bias not counted)."""
        return 0

    def ports(self) -> tuple[str, ...] | None:
        """Names of the outputs; None: numbered `0`, `1`, ..., as many as the input's size gives."""
        return ("out",)

    def references(self) -> tuple[str, ...]:
        """References outside `inputs` (only `output_size` has one)."""
        return ()

    # --- what follows from it -----------------------------------------------------------------------

    def complete(self, call: Call) -> Self:
        """The layer with its inferred parameters filled in from the first input."""
        missing = {p: axis for p, axis in self.inferred.items() if getattr(self, p) is None}
        if not missing:
            return self
        found: dict[str, Any] = {}
        for parameter, axis in missing.items():
            if not -call.x.rank <= axis < call.x.rank:
                call.fail(f"cannot infer {parameter} from {call.x.rank}-D input {call.x}", code="wrong-rank")
            size = call.x.shape[self._channel_axis(call.x, axis)]
            if not isinstance(size, int):
                call.fail(
                    f"cannot infer {parameter}: axis {axis} of {format_shape(call.x.shape)} is {size}, not a number",
                    code="cannot-infer",
                    help=f"write {parameter} on the layer, or a number in the input's shape",
                )
            found[parameter] = size
        layer = self.model_copy(update=found)
        layer._origin = self._origin
        return layer

    def _channel_axis(self, x: TensorType, axis: int) -> int:
        return axis

    def states(self) -> tuple[State, ...]:
        """`state()` with the user's `init` in place of torch's defaults."""
        given = self.init if isinstance(self.init, dict) else {}
        return tuple(
            State(s.name, s.shape, given.get(s.name, s.init), s.dtype, s.buffer, s.optional)
            for s in self.state()
        )

    def to_mapping(self) -> dict[str, Any]:
        """The layer as it would be written: type, and what differs from the defaults."""
        mapping: dict[str, Any] = {} if self.name is None else {"name": self.name}
        mapping["type"] = self.type_name
        for key, info in type(self).model_fields.items():
            value = getattr(self, key)
            if (
                key == "name"
                or value is None
                or (not info.is_required() and value == _default(type(self), key))
            ):
                continue
            mapping[info.alias or key] = _plain(_short(type(self), key, value))
        return mapping

    def check_init(self, call: Call) -> None:
        """Refuse initial values that do not fit the parameters."""
        if not self.init or not isinstance(self.init, dict):
            return
        shapes = {s.name: s.shape for s in self.state()}
        for key, init in self.init.items():
            if key not in shapes:
                call.fail(
                    f"there is no {key} to initialise with these parameters",
                    code="unknown-key",
                    parameter=f"init.{key}",
                    inputs=(),
                )
            if reason := refusal(init, shapes[key]):
                call.fail(reason, code="wrong-init", parameter=f"init.{key}", inputs=())


def _default(cls: type[Layer], key: str) -> Any:
    default = cls.model_fields[key].default
    if issubclass(cls, _Spatial) and key in cls.per_axis and isinstance(default, int):
        return (default,) * cls.rank
    return default


def _short(cls: type[Layer], key: str, value: Any) -> Any:
    """One number for every axis, where all axes have it."""
    if (
        issubclass(cls, _Spatial)
        and key in cls.per_axis
        and isinstance(value, tuple)
        and len(set(value)) == 1
    ):
        return value[0]
    return value


def _plain(value: Any) -> Any:
    """Tuples as lists, initialisations as mappings: what YAML can hold."""
    if isinstance(value, InitMethod):
        return {"method": value.method, **dict(value.arguments)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


class _Spatial(Layer):
    """A layer with one, two or three spatial axes: an int stands for every axis."""

    model_config = ConfigDict(validate_default=True)

    rank: ClassVar[int]
    """Number of spatial axes."""
    per_axis: ClassVar[tuple[str, ...]] = ()
    """Fields that have one value an axis."""

    @field_validator("*", mode="after", check_fields=False)
    @classmethod
    def _one_per_axis(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name not in cls.per_axis or value is None or isinstance(value, str):
            return value
        if isinstance(value, tuple):
            if len(value) == 1 and cls.rank > 1 and cls.single_means_all(str(info.field_name)):
                return value * cls.rank
            if len(value) != cls.rank:
                raise PydanticCustomError(
                    "wrong-length",
                    "expected an integer or a list of {rank} (one for each spatial axis), got {count} values",
                    {"rank": cls.rank, "count": len(value)},
                )
            return value
        return (value,) * cls.rank

    @classmethod
    def single_means_all(cls, parameter: str) -> bool:
        """Whether torch reads a list of one as the value of every axis here."""
        return True

    @classmethod
    def layout(cls, channels: str = "C") -> str:
        """`(N, C, H, W) or (C, H, W)`, for messages."""
        space = ", ".join({1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}[cls.rank])
        return f"(N, {channels}, {space}) or ({channels}, {space})"


class _Function(Layer):
    """A torch function; its lower-case name is given as `type=`."""
