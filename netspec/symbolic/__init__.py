"""Exact arithmetic on tensor sizes: expressions, conditions on them, and solving those conditions."""

from netspec.symbolic.bounding import bounds
from netspec.symbolic.conditions import Condition, all_of, any_of, at_least, at_most, divisible, equal
from netspec.symbolic.constraints import ConstraintSet
from netspec.symbolic.expression import (
    Dim,
    Expression,
    ceildiv,
    evaluate,
    maximum,
    minimum,
    product,
    substitute,
    symbol,
)
from netspec.symbolic.parser import ExpressionError, parse

__all__ = [
    "Condition",
    "ConstraintSet",
    "Dim",
    "Expression",
    "ExpressionError",
    "all_of",
    "any_of",
    "at_least",
    "at_most",
    "bounds",
    "ceildiv",
    "divisible",
    "equal",
    "evaluate",
    "maximum",
    "minimum",
    "parse",
    "product",
    "substitute",
    "symbol",
]
