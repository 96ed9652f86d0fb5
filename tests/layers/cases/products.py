"""matmul, bmm, einsum."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection


def _product(case: Any, tensors: list[Any]) -> Any:
    import torch

    return getattr(torch, case.type)(*tensors)


def _einsum(case: Any, tensors: list[Any]) -> Any:
    import torch

    return torch.einsum(case.parameters["equation"], *tensors)


TORCH = {"matmul": _product, "bmm": _product, "einsum": _einsum}


def _einsum_case(equation: str, *shapes: tuple[int, ...], dtype: str = "float32") -> Case:
    return Case("einsum", {"equation": equation}, tuple(Arg(shape, dtype) for shape in shapes))


CASES = [
    *(
        Case("matmul", {}, (Arg(a), Arg(b)))
        for a, b in (
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 4)),
            ((2, 3), (3, 4)),
            ((5, 2, 3), (3, 4)),
            ((5, 2, 3), (3,)),
            ((3,), (5, 3, 4)),
            ((2, 3), (5, 3, 4)),
            ((5, 2, 3), (5, 3, 4)),
            ((1, 5, 2, 3), (7, 1, 3, 4)),
            ((1, 2, 3), (5, 3, 4)),
            ((0, 3), (3, 4)),
            ((2, 0), (0, 4)),
            ((0,), (0,)),
            ((0, 2, 3), (0, 3, 4)),
        )
    ),
    Case("matmul", {}, (Arg((2, 3), "int64"), Arg((3, 2), "int64"))),
    Case("matmul", {}, (Arg((3,), "int32"), Arg((3,), "int32"))),
    Case("matmul", {}, (Arg((2, 3), "complex64"), Arg((3, 2), "complex64"))),
    Case("matmul", {}, (Arg((2, 3), "float64"), Arg((3, 2), "float64")), dtype="float64", tolerance=1e-12),
    Case("matmul", {}, (Arg((2, 3), "float16"), Arg((3, 2), "float16")), dtype="float16", tolerance=3e-3),
    Case("bmm", {}, (Arg((2, 3, 4)), Arg((2, 4, 5)))),
    Case("bmm", {}, (Arg((0, 3, 4)), Arg((0, 4, 5)))),
    Case("bmm", {}, (Arg((2, 3, 0)), Arg((2, 0, 5)))),
    Case("bmm", {}, (Arg((2, 3, 4), "int64"), Arg((2, 4, 5), "int64"))),
    Case("bmm", {}, (Arg((1, 2, 2), "complex64"), Arg((1, 2, 2), "complex64"))),
    _einsum_case("ij,jk->ik", (2, 3), (3, 4)),
    _einsum_case("ij,jk", (2, 3), (3, 4)),
    _einsum_case("ba", (2, 3)),
    _einsum_case("aB", (2, 3)),
    _einsum_case("i j -> j i", (2, 3)),
    _einsum_case("ii->i", (3, 3)),
    _einsum_case("ii", (3, 3)),
    _einsum_case("iij->ji", (3, 3, 2)),
    _einsum_case("ij->", (2, 3)),
    _einsum_case("ij->", (0, 3)),
    _einsum_case("...i->i", (2, 3)),
    _einsum_case("...i->i", (2, 2, 3)),
    _einsum_case("...i", (2, 3)),
    _einsum_case("...i->...", (2, 3)),
    _einsum_case("...->", (2, 3)),
    _einsum_case("...", (2, 3)),
    _einsum_case("i->i...", (2,)),
    _einsum_case("i...->...", (2,)),
    _einsum_case("ij...->ji...", (2, 3, 4, 1)),
    _einsum_case("i...i->...", (2, 3, 2)),
    _einsum_case("...ij,...jk", (5, 2, 3), (3, 4)),
    _einsum_case("...ij,...jk->...ik", (5, 2, 3), (1, 3, 4)),
    _einsum_case("...,...->...", (2, 1), (3,)),
    _einsum_case("a...,...->a", (2, 4), (3, 4)),
    _einsum_case("i,j", (2,), (3,)),
    _einsum_case("i,j->", (2,), (3,)),
    _einsum_case("i,", (2,), ()),
    _einsum_case(",->", (), ()),
    _einsum_case("->", ()),
    _einsum_case("", ()),
    _einsum_case("ij,jk->ik", (2, 3), (1, 4)),
    _einsum_case("i,i->i", (1,), (3,)),
    _einsum_case("ij,jk->ik", (2, 0), (0, 3)),
    _einsum_case("i,j,k->ijk", (2,), (3,), (4,)),
    _einsum_case("ij,ij,ij->i", (2, 3), (2, 3), (2, 3)),
    _einsum_case("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    _einsum_case("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    _einsum_case("bi,oi->bo", (4, 3), (2, 3)),
    _einsum_case("ij,jk->ik", (2, 3), (3, 2), dtype="int64"),
    _einsum_case("ij->i", (2, 3), dtype="int32"),
    _einsum_case("i,i->", (3,), (3,), dtype="int32"),
    _einsum_case("i,j->", (3,), (3,), dtype="int32"),
    _einsum_case("i,i->i", (3,), (3,), dtype="int32"),
    _einsum_case("i->", (3,), dtype="bool"),
    _einsum_case("i,i->i", (3,), (3,), dtype="bool"),
    _einsum_case("i,j->ij", (3,), (2,), dtype="bool"),
    _einsum_case("ij,jk->ik", (2, 3), (3, 2), dtype="complex64"),
    Case("einsum", {"equation": "i,i->i"}, (Arg((3,)), Arg((3,), "int64"))),
    Case("einsum", {"equation": "i,j->ij"}, (Arg((3,)), Arg((2,), "int64"))),
    Case(
        "einsum",
        {"equation": "ij,jk->ik"},
        (Arg((2, 3), "float64"), Arg((3, 2), "float64")),
        dtype="float64",
        tolerance=1e-12,
    ),
    Case(
        "einsum",
        {"equation": "ij,jk->ik"},
        (Arg((2, 3), "float16"), Arg((3, 2), "float16")),
        dtype="float16",
        tolerance=3e-3,
    ),
]


def _refused(equation: str, *shapes: tuple[int, ...], code: str, dtype: str = "float32") -> Rejection:
    inputs = tuple(Arg(shape, dtype) for shape in shapes)
    return Rejection("einsum", {"equation": equation}, inputs, code=code)


REJECTIONS = [
    Rejection("matmul", {}, (Arg((2, 3)), Arg((4, 3))), code="shape-mismatch"),
    Rejection("matmul", {}, (Arg((3,)), Arg((4,))), code="shape-mismatch"),
    Rejection("matmul", {}, (Arg((1,)), Arg((4,))), code="shape-mismatch"),
    Rejection("matmul", {}, (Arg(()), Arg((2,))), code="wrong-rank"),
    Rejection("matmul", {}, (Arg((2, 2, 3)), Arg((3, 3, 4))), code="cannot-broadcast"),
    Rejection("matmul", {}, (Arg((2, 3)), Arg((3, 4), "int64")), code="dtype-mismatch"),
    Rejection("matmul", {}, (Arg((2, 3), "int32"), Arg((3, 4), "int64")), code="dtype-mismatch"),
    Rejection("matmul", {}, (Arg((3,), "bool"), Arg((3,), "bool")), code="wrong-dtype"),
    Rejection("bmm", {}, (Arg((2, 3, 4)), Arg((1, 4, 5))), code="shape-mismatch"),
    Rejection("bmm", {}, (Arg((2, 3, 4)), Arg((2, 3, 5))), code="shape-mismatch"),
    Rejection("bmm", {}, (Arg((3, 4)), Arg((4, 5))), code="wrong-rank"),
    Rejection("bmm", {}, (Arg((2, 3, 4)), Arg((4, 5))), code="wrong-rank"),
    Rejection("bmm", {}, (Arg((2, 3, 4), "bool"), Arg((2, 4, 5), "bool")), code="wrong-dtype"),
    _refused("ii->i", (3, 1), code="shape-mismatch"),
    _refused("i->ii", (2,), code="wrong-equation"),
    _refused("i->j", (2,), code="wrong-equation"),
    _refused("ij", (2,), code="wrong-rank"),
    _refused("i", (2, 3), code="wrong-rank"),
    _refused("...ij", (2,), code="wrong-rank"),
    _refused("ij,jk", (2, 3), code="wrong-arity"),
    _refused("ij", (2, 3), (3,), code="wrong-arity"),
    _refused("i.j", (2, 3), code="wrong-equation"),
    _refused("....", (2, 3), code="wrong-equation"),
    _refused("......", (2, 3), code="wrong-equation"),
    _refused("i,i->i", (2,), (3,), code="cannot-broadcast"),
    _refused("i1->i", (2, 3), code="wrong-equation"),
    _refused("i->->i", (2,), code="wrong-equation"),
    _refused("i->i.", (2,), code="wrong-equation"),
    _refused("i,i->", (2,), (2,), code="wrong-dtype", dtype="bool"),
    Rejection("einsum", {"equation": "i,i->"}, (Arg((2,)), Arg((2,), "int64")), code="dtype-mismatch"),
    Rejection("einsum", {"equation": 5}, (Arg((2,)),), code="wrong-type", parameter="equation"),
]
