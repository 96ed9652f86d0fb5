"""Losses: input and target in, a number (or, unreduced, one for each element) out.

Values that torch refuses (probabilities outside [0, 1], class indices out of range) are refused when the
network runs. Source: torch.nn's Loss Functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from netspec.layers.base import Call, Layer, State
from netspec.layers.broadcasting import broadcast, broadcast_to
from netspec.layers.parameters import (
    Bool,
    Integer,
    Literal,
    Probability,
    choice,
    literal_shape,
    number,
)
from netspec.layers.tensor import (
    REAL_OF,
    TensorType,
    format_shape,
    is_complex,
    is_float,
    is_inexact,
    result_dtype,
)
from netspec.operations import Reduce, Require, Softmax, TakeAlong
from netspec.program.builder import Builder, Value
from netspec.symbolic import Dim, equal

Reduction = choice("none", "mean", "sum")
Beta = number("a number >= 0", 0.0)
Delta = number("a number > 0", 0.0, exclusive=True)


def _flag(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise PydanticCustomError("wrong-type", "expected true, false or null", {})
    return value


Deprecated = Annotated[
    bool | None, PlainValidator(_flag), WithJsonSchema({"type": ["boolean", "null"], "deprecated": True})
]


class _Loss(Layer):
    """What losses share: two inputs, and the reduction."""

    arity: ClassVar = (2, 2)
    input_names: ClassVar = ("input", "target")

    @property
    def reduced(self) -> str:
        """none, mean or sum: the deprecated size_average and reduce override reduction, as in torch."""
        average, reduce = self.size_average, self.reduce  # type: ignore[attr-defined]
        if average is None and reduce is None:
            found: str = self.reduction  # type: ignore[attr-defined]
            return found
        if reduce is False:
            return "none"
        return "sum" if average is False else "mean"

    def _result(self, shape: tuple[Dim, ...], dtype: str) -> TensorType:
        """The elements' type after the reduction."""
        return TensorType(shape if self.reduced == "none" else (), dtype)

    def _reduce(self, b: Builder, loss: Value) -> Value:
        """The elements themselves, their mean or their sum."""
        if self.reduced == "none":
            return loss
        return _over_all(b, loss, self.reduced)

    def _buffers(self, *names: str) -> tuple[State, ...]:
        """The literal weights that are given, as the buffers that torch registers."""
        given = [(name, getattr(self, name)) for name in names]
        return tuple(
            State(name, literal_shape(value), value, buffer=True)
            for name, value in given
            if value is not None
        )


def _over_all(b: Builder, x: Value, function: str) -> Value:
    if x.rank == 0:
        return x
    return b.emit(Reduce(function, tuple(range(x.rank))), x, shape=())  # type: ignore[arg-type]


def _same_shape(call: Call) -> tuple[Dim, ...]:
    """The shape of both inputs, refused where they differ."""
    x, target = call.inputs
    message = f"target {target} must have the shape of the input {x}"
    where: dict[str, Any] = {"code": "shape-mismatch", "inputs": (0, 1)}
    if x.rank != target.rank:
        call.fail(message, **where)
    for size, wanted in zip(target.shape, x.shape, strict=True):
        call.require(equal(size, wanted), message, **where)
    return x.shape


def _broadcast(call: Call) -> tuple[Dim, ...]:
    """The common shape of input and target, with torch's warning where they differ."""
    x, target = call.inputs
    shape = broadcast(call, x.shape, target.shape)
    if x.shape != target.shape:
        call.warn(
            f"target {target} is broadcast against the input {x}; the loss may not be what is meant",
            code="broadcast-target",
            inputs=(0, 1),
            help="give both the same shape",
        )
    return shape


# --- losses of two tensors of one shape -------------------------------------------------------------


class _Distance(_Loss):
    """A function of input and target, element by element; shapes broadcast."""

    function: ClassVar[str]
    """Name of the elementwise operation."""

    def infer(self, call: Call) -> TensorType:
        """The broadcast shape, reduced."""
        return self._result(_broadcast(call), self._dtype(call))

    def _dtype(self, call: Call) -> str:
        dtype = result_dtype(*call.inputs)
        if not is_float(dtype):
            types = " and ".join(t.dtype for t in call.inputs)
            call.fail(
                f"{self.type_name} needs real floating point, got {types}", code="wrong-dtype", inputs=(0, 1)
            )
        return dtype

    def _constants(self) -> tuple[Any, ...]:
        return ()

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation, then the reduction."""
        dtype = b.outputs[0].dtype
        x, target = (b.cast(value, dtype) for value in inputs)
        return self._reduce(b, b.elementwise(self.function, x, target, constants=self._constants()))


class MSELoss(_Distance):
    """Squared difference of input and target: (*), (*) -> () or, unreduced, (*).

    Example: `{type: MSELoss, inputs: [prediction, target]}`
    """

    function: ClassVar = "squared_error"

    size_average: Deprecated = None
    """Deprecated: false means reduction sum."""
    reduce: Deprecated = None
    """Deprecated: false means reduction none."""
    reduction: Reduction = "mean"  # type: ignore[valid-type]
    """What becomes of the elements: none, mean or sum."""


class L1Loss(_Distance):
    """Absolute difference of input and target: (*), (*) -> () or, unreduced, (*).

    Example: `{type: L1Loss, inputs: [prediction, target]}`
    """

    function: ClassVar = "absolute_error"

    size_average: Deprecated = None
    """Deprecated: false means reduction sum."""
    reduce: Deprecated = None
    """Deprecated: false means reduction none."""
    reduction: Reduction = "mean"  # type: ignore[valid-type]
    """What becomes of the elements: none, mean or sum."""

    def _dtype(self, call: Call) -> str:
        return _absolute_dtype(self, call)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation (two for complex numbers), then the reduction."""
        return self._reduce(b, _absolute_error(b, inputs))


def _absolute_dtype(layer: _Distance, call: Call) -> str:
    """dtype of an absolute error's result; integers are refused where they have a mean."""
    if any(t.dtype == "bool" for t in call.inputs):
        call.fail("bool tensors cannot be subtracted", code="wrong-dtype", inputs=(0, 1))
    dtype = result_dtype(*call.inputs)
    if layer.reduced == "mean" and not is_inexact(dtype):
        call.fail(f"the mean needs a floating dtype, got {dtype}", code="wrong-dtype", inputs=(0, 1))
    if layer.reduced == "sum" and not is_inexact(dtype):
        return "int64"
    return REAL_OF.get(dtype, dtype)


def _absolute_error(b: Builder, inputs: Sequence[Value]) -> Value:
    """|input - target| of each element, in the result's dtype."""
    dtype = result_dtype(*(TensorType(value.shape, value.dtype) for value in inputs))
    x, target = (b.cast(value, dtype) for value in inputs)
    if is_complex(dtype):
        difference = b.elementwise("sub", x, target, constants=(1,))
        loss = b.elementwise("abs", difference, dtype=REAL_OF[dtype])
    else:
        loss = b.elementwise("absolute_error", x, target)
    return b.cast(loss, b.outputs[0].dtype)


class SmoothL1Loss(_Distance):
    """0.5 d²/beta below |d| = beta, |d| - beta/2 above it: (*), (*) -> () or, unreduced, (*).

    Example: `{type: SmoothL1Loss, inputs: [prediction, target], beta: 0.5}`
    """

    function: ClassVar = "smooth_l1"

    size_average: Deprecated = None
    """Deprecated: false means reduction sum."""
    reduce: Deprecated = None
    """Deprecated: false means reduction none."""
    reduction: Reduction = "mean"  # type: ignore[valid-type]
    """What becomes of the elements: none, mean or sum."""
    beta: Beta = 1.0  # type: ignore[valid-type]
    """Where the square becomes a line; 0 is L1Loss."""

    def _constants(self) -> tuple[Any, ...]:
        return (self.beta,)

    def _dtype(self, call: Call) -> str:
        return super()._dtype(call) if self.beta else _absolute_dtype(self, call)

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation, then the reduction; with beta 0 that of L1Loss."""
        return super().lower(b, *inputs) if self.beta else self._reduce(b, _absolute_error(b, inputs))


class HuberLoss(_Distance):
    """0.5 d² up to |d| = delta, delta (|d| - delta/2) above it: (*), (*) -> () or, unreduced, (*).

    Example: `{type: HuberLoss, inputs: [prediction, target], delta: 0.5}`
    """

    function: ClassVar = "huber"

    reduction: Reduction = "mean"  # type: ignore[valid-type]
    """What becomes of the elements: none, mean or sum."""
    delta: Delta = 1.0  # type: ignore[valid-type]
    """Where the square becomes a line."""

    @property
    def reduced(self) -> str:
        """none, mean or sum."""
        found: str = self.reduction
        return found

    def _dtype(self, call: Call) -> str:
        super()._dtype(call)
        if not is_float(call.x.dtype):
            call.fail(f"the input must be real floating point, got {call.x.dtype}", code="wrong-dtype")
        return call.x.dtype

    def _constants(self) -> tuple[Any, ...]:
        return (self.delta,)


class KLDivLoss(_Distance):
    """Kullback-Leibler divergence, the input in log space: (*), (*) -> () or, unreduced, (*).

    Example: `{type: KLDivLoss, inputs: [log_probabilities, target], reduction: batchmean}`
    """

    function: ClassVar = "kl_div"

    size_average: Deprecated = None
    """Deprecated: false means reduction sum."""
    reduce: Deprecated = None
    """Deprecated: false means reduction none."""
    reduction: choice("none", "mean", "sum", "batchmean") = "mean"  # type: ignore[valid-type]
    """What becomes of the elements; batchmean (the true divergence) is the sum over the batch size."""
    log_target: Bool = False
    """Whether the target is in log space too."""

    def _dtype(self, call: Call) -> str:
        for index in (0, 1):
            call.need_float(index, complex_too=False)
        return result_dtype(*call.inputs)

    def _constants(self) -> tuple[Any, ...]:
        return (self.log_target,)

    def _reduce(self, b: Builder, loss: Value) -> Value:
        """batchmean divides by the first axis of the input, whatever it was broadcast to."""
        if self.reduced != "batchmean":
            return super()._reduce(b, loss)
        return _over_all(b, loss, "sum")

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """One elementwise operation, then the reduction."""
        loss = super().lower(b, *inputs)
        if self.reduced != "batchmean" or inputs[0].rank == 0:
            return loss
        return b.elementwise("div", loss, b.literal(inputs[0].shape[0], loss.dtype))


class BCELoss(_Loss):
    """Binary cross entropy of probabilities and targets in [0, 1]: (*), (*) -> () or, unreduced, (*).

    Example: `{type: BCELoss, inputs: [probability, target]}`
    """

    weight: Literal | None = None
    """Factor of each element, as nested lists; broadcast to the input."""
    size_average: Deprecated = None
    """Deprecated: false means reduction sum."""
    reduce: Deprecated = None
    """Deprecated: false means reduction none."""
    reduction: Reduction = "mean"  # type: ignore[valid-type]
    """What becomes of the elements: none, mean (over their number, weighted or not) or sum."""

    def infer(self, call: Call) -> TensorType:
        """Input and target have one shape and one real floating dtype."""
        dtype = call.need_float(0, complex_too=False)
        if call.inputs[1].dtype != dtype:
            call.fail(
                f"the target must be {dtype}, as the input is, got {call.inputs[1].dtype}",
                code="dtype-mismatch",
                inputs=(1,),
            )
        shape = _same_shape(call)
        if self.weight is not None:
            broadcast_to(call, literal_shape(self.weight), shape, "weight", "weight")
        return self._result(shape, dtype)

    def state(self) -> tuple[State, ...]:
        """weight, where given."""
        return self._buffers("weight")

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """The checks, the elements, the weight, the reduction."""
        for name, value in zip(("input", "target"), inputs, strict=True):
            b.append(Require(0.0, 1.0, f"all elements of {name} should be between 0 and 1"), [value], [])
        loss = b.elementwise("bce", *inputs)
        if self.weight is not None:
            loss = b.elementwise("mul", loss, b.cast(b.weight("weight"), loss.dtype))
        return self._reduce(b, loss)


class BCEWithLogitsLoss(_Loss):
    """Binary cross entropy of sigmoid(input) and target, stable: (*), (*) -> () or, unreduced, (*).

    Example: `{type: BCEWithLogitsLoss, inputs: [logits, target], pos_weight: [2.0, 1.0, 0.5]}`
    """

    weight: Literal | None = None
    """Factor of each element, as nested lists; broadcast to the input."""
    size_average: Deprecated = None
    """Deprecated: false means reduction sum."""
    reduce: Deprecated = None
    """Deprecated: false means reduction none."""
    reduction: Reduction = "mean"  # type: ignore[valid-type]
    """What becomes of the elements: none, mean (over their number, weighted or not) or sum."""
    pos_weight: Literal | None = None
    """Factor of the positive part of each element, as nested lists; broadcast to the input."""

    def infer(self, call: Call) -> TensorType:
        """Input and target have one shape and real floating dtypes; the target's is the result's."""
        call.need_float(0, complex_too=False)
        dtype = call.need_float(1, complex_too=False)
        shape = _same_shape(call)
        for name, value in (("weight", self.weight), ("pos_weight", self.pos_weight)):
            if value is not None:
                broadcast_to(call, literal_shape(value), shape, name, name)
        return self._result(shape, dtype)

    def state(self) -> tuple[State, ...]:
        """weight and pos_weight, where given."""
        return self._buffers("weight", "pos_weight")

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """The elements, the weight, the reduction."""
        dtype = b.outputs[0].dtype
        operands = [b.cast(value, dtype) for value in inputs]
        if self.pos_weight is not None:
            operands.append(b.cast(b.weight("pos_weight"), dtype))
        loss = b.elementwise("bce_with_logits", *operands)
        if self.weight is not None:
            loss = b.elementwise("mul", loss, b.cast(b.weight("weight"), dtype))
        return self._reduce(b, loss)


# --- losses of class scores -------------------------------------------------------------------------


class _Classes(_Loss):
    """NLLLoss and CrossEntropyLoss with class indices: (N, C, *) or (C), target (N, *) or ()."""

    def _indices(self, call: Call) -> tuple[tuple[Dim, ...], str]:
        """Shape and dtype of the unreduced loss: those of the target and of the input."""
        x, target = call.inputs
        if x.rank == 0:
            call.fail("expected (N, C, ...) or (C) input, got a 0-d tensor", code="wrong-rank")
        call.need_float(0, complex_too=False)
        if target.dtype not in ("int64", "uint8"):
            call.fail(
                f"class indices must be int64 (or uint8), got {target.dtype}", code="wrong-dtype", inputs=(1,)
            )
        wanted = (x.shape[0], *x.shape[2:]) if x.rank > 1 else ()
        message = f"the target of an input {x} must have shape {format_shape(wanted)}, got {target}"
        where: dict[str, Any] = {"code": "shape-mismatch", "inputs": (0, 1)}
        if x.rank == 1 and target.rank == 1 and self._takes_one_element():
            call.require(equal(target.shape[0], 1), message, **where)
        elif target.rank != len(wanted):
            call.fail(message, **where)
        else:
            for size, expected in zip(target.shape, wanted, strict=True):
                call.require(equal(size, expected), message, **where)
        if self.weight is not None:  # type: ignore[attr-defined]
            call.need_weight_dtype(0)
        self._check_weight(call)
        return wanted, x.dtype

    def _takes_one_element(self) -> bool:
        """Whether an unbatched input may come with a target of shape [1]."""
        return True

    def _check_weight(self, call: Call) -> None:
        weight = self.weight  # type: ignore[attr-defined]
        if weight is None:
            return
        classes = call.x.shape[1 if call.x.rank > 1 else 0]
        shape = literal_shape(weight)
        message = f"weight needs one number for each of the {classes} classes, got shape {list(shape)}"
        if len(shape) != 1:
            call.fail(message, code="shape-mismatch", parameter="weight")
        call.require(equal(classes, shape[0]), message, code="shape-mismatch", parameter="weight")

    def state(self) -> tuple[State, ...]:
        """weight, where given."""
        return self._buffers("weight")

    def _picked(self, b: Builder, scores: Value, target: Value) -> tuple[Value, Value, Value]:
        """Losses and their weights, both 0 where the class is ignored, and a mask of what is not."""
        axis = 1 if scores.rank > 1 else 0
        shape = scores.shape[:axis] + scores.shape[axis + 1 :]
        ignored: int = self.ignore_index  # type: ignore[attr-defined]
        last = scores.shape[axis] - 1
        target = b.reshape(b.cast(target, "int64"), shape)
        message = f"every class index should be between 0 and {last}, or ignore_index ({ignored})"
        b.append(Require(0, last, message, ignored), [target], [])
        counted = b.elementwise("not_equal", target, constants=(ignored,), dtype=scores.dtype)
        index = b.elementwise("select", counted, target, constants=(0,), dtype="int64")
        score = b.emit(TakeAlong(axis), scores, index, shape=shape)
        weights = counted
        weight = self._class_weights(b, scores)
        if weight is not None:
            own = b.emit(TakeAlong(axis), weight, index, shape=shape)
            score = b.elementwise("mul", score, own)
            weights = b.elementwise("mul", own, counted)
        loss = b.elementwise(
            "select", counted, b.elementwise("neg", score), constants=(0,), dtype=scores.dtype
        )
        return loss, weights, counted

    def _class_weights(self, b: Builder, scores: Value) -> Value | None:
        """weight, repeated to the shape of the scores."""
        if self.weight is None:  # type: ignore[attr-defined]
            return None
        axis = 1 if scores.rank > 1 else 0
        weight = b.cast(b.weight("weight"), scores.dtype)
        weight = b.reshape(weight, [scores.shape[axis] if i == axis else 1 for i in range(scores.rank)])
        return b.broadcast(weight, scores.shape)

    def _mean(self, b: Builder, loss: Value, weights: Value) -> Value:
        """The losses' sum over the weights' sum: NaN where everything is ignored."""
        return b.elementwise("div", _over_all(b, loss, "sum"), _over_all(b, weights, "sum"))


class NLLLoss(_Classes):
    """Negative of each sample's log-probability at its class: (N, C, *), (N, *) -> () or, unreduced, (N, *).

    Example: `{type: NLLLoss, inputs: [log_probabilities, classes]}`
    """

    weight: Literal | None = None
    """Factor of each class, as a list; the mean divides by the factors' sum."""
    size_average: Deprecated = None
    """Deprecated: false means reduction sum."""
    ignore_index: Integer = -100
    """A class index that counts for nothing."""
    reduce: Deprecated = None
    """Deprecated: false means reduction none."""
    reduction: Reduction = "mean"  # type: ignore[valid-type]
    """What becomes of the elements: none, mean or sum."""

    def infer(self, call: Call) -> TensorType:
        """Class indices, one for each sample."""
        return self._result(*self._indices(call))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """The scores at the classes, weighted and reduced."""
        loss, weights, _ = self._picked(b, *inputs)
        return self._mean(b, loss, weights) if self.reduced == "mean" else self._reduce(b, loss)


class CrossEntropyLoss(_Classes):
    """Negative log-softmax at each sample's class or under its class probabilities: (N, C, *), (N, *) -> ().

    Example: `{type: CrossEntropyLoss, inputs: [logits, classes], label_smoothing: 0.1}`
    """

    weight: Literal | None = None
    """Factor of each class, as a list; with class indices the mean divides by the factors' sum."""
    size_average: Deprecated = None
    """Deprecated: false means reduction sum."""
    ignore_index: Integer = -100
    """A class index that counts for nothing."""
    reduce: Deprecated = None
    """Deprecated: false means reduction none."""
    reduction: Reduction = "mean"  # type: ignore[valid-type]
    """What becomes of the elements: none, mean or sum."""
    label_smoothing: Probability = 0.0
    """Share of the target that is spread evenly over all classes."""

    def infer(self, call: Call) -> TensorType:
        """Class indices (N, *), or class probabilities of the input's own shape."""
        x, target = call.inputs
        if x.rank and self._probabilities(x.shape, target.shape):
            return self._soft(call)
        return self._result(*self._indices(call))

    def _probabilities(self, shape: tuple[Dim, ...], target: tuple[Dim, ...]) -> bool:
        """torch takes a target of the input's shape for probabilities."""
        return len(shape) == len(target) and (len(shape) > 1 or shape == target)

    def _takes_one_element(self) -> bool:
        return not self.label_smoothing

    def _soft(self, call: Call) -> TensorType:
        x, target = call.inputs
        shape = (x.shape[0], *x.shape[2:]) if x.rank > 1 else ()
        call.need_float(0, complex_too=False)
        if not is_float(target.dtype):
            call.fail(
                f"class probabilities (a target of the input's shape) must be floating, got {target.dtype}",
                code="wrong-dtype",
                inputs=(1,),
                help=f"class indices have shape {format_shape(shape)}",
            )
        if self.ignore_index >= 0:
            call.fail(
                "class probabilities have no ignore_index", code="unused-value", parameter="ignore_index"
            )
        _same_shape(call)
        self._check_weight(call)
        return self._result(shape, result_dtype(*call.inputs))

    def lower(self, b: Builder, *inputs: Value) -> Value:
        """The log-softmax, then as NLLLoss, or its product with the probabilities."""
        x, target = inputs
        axis = 1 if x.rank > 1 else 0
        scores = b.emit(Softmax(axis, log=True), x, shape=x.shape)
        if self._probabilities(x.shape, target.shape):
            return self._lower_soft(b, scores, target, axis)
        loss, weights, counted = self._picked(b, scores, target)
        if self.label_smoothing:
            spread = self._spread(b, scores, axis)
            spread = b.elementwise("select", counted, spread, constants=(0,), dtype=loss.dtype)
            share = self.label_smoothing / scores.shape[axis] if scores.shape[axis] else 0.0
            loss = b.elementwise("scale", loss, constants=(1 - self.label_smoothing, 0.0))
            loss = b.elementwise("add", loss, spread, constants=(share,))
        return self._mean(b, loss, weights) if self.reduced == "mean" else self._reduce(b, loss)

    def _spread(self, b: Builder, terms: Value, axis: int) -> Value:
        """The negative sum of the terms over the classes, each with its class's weight."""
        weight = self._class_weights(b, terms)
        if weight is not None:
            terms = b.elementwise("mul", terms, weight)
        shape = terms.shape[:axis] + terms.shape[axis + 1 :]
        return b.elementwise("neg", b.emit(Reduce("sum", (axis,)), terms, shape=shape))

    def _lower_soft(self, b: Builder, scores: Value, target: Value, axis: int) -> Value:
        dtype = b.outputs[0].dtype
        scores, target = b.cast(scores, dtype), b.cast(target, dtype)
        classes = scores.shape[axis]
        if self.label_smoothing and classes:
            constants = (1 - self.label_smoothing, self.label_smoothing / classes)
            target = b.elementwise("scale", target, constants=constants)
        loss = self._spread(b, b.elementwise("mul", scores, target), axis)
        if self.reduced == "mean" and not classes:
            loss = b.elementwise("scale", loss, constants=(float("nan"), 0.0))  # 0 over 0 classes
        return self._reduce(b, loss)
