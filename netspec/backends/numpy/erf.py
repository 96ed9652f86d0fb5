"""The error function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_SINGLE_P = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_SINGLE_Q = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_SMALL_P = (
    1.85777706184603153e-1,
    3.16112374387056560e00,
    1.13864154151050156e02,
    3.77485237685302021e02,
    3.20937758913846947e03,
)
_SMALL_Q = (
    1.0,
    2.36012909523441209e01,
    2.44024637934444173e02,
    1.28261652607737228e03,
    2.84423683343917062e03,
)
_LARGE_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e01,
    2.98635138197400131e02,
    8.81952221241769090e02,
    1.71204761263407058e03,
    2.05107837782607147e03,
    1.23033935479799725e03,
)
_LARGE_Q = (
    1.0,
    1.57449261107098347e01,
    1.17693950891312499e02,
    5.37181101862009858e02,
    1.62138957456669019e03,
    3.29079923573345963e03,
    4.36261909014324716e03,
    3.43936767414372164e03,
    1.23033935480374942e03,
)


def _polynomial(t: Any, x: Any, coefficients: Sequence[float]) -> None:
    """t = the polynomial at x, highest power first (Horner)."""
    real = t.dtype.type
    np.multiply(x, real(coefficients[0]), out=t)
    for coefficient in coefficients[1:-1]:
        np.add(t, real(coefficient), out=t)
        np.multiply(t, x, out=t)
    np.add(t, real(coefficients[-1]), out=t)


def erf(out: Any, x: Any, t: Any, u: Any, mask: Any) -> None:
    """out = erf(x); x is overwritten, t and u are temporaries; none of them the same array.

    float32: x P(x^2)/Q(x^2) on [-4, 4] (the rational approximation of Eigen and XLA). float64:
    Cody, Rational Chebyshev approximations for the error function, 1969, whose range up to 4 is
    good to 1e-16 up to 6 here, because 1 - erf is below 1.6e-8 there.
    """
    real = out.dtype.type
    if out.dtype == np.float32:
        np.maximum(x, real(-4), out=x)
        np.minimum(x, real(4), out=x)
        np.multiply(x, x, out=t)
        _polynomial(u, t, _SINGLE_P)
        np.multiply(u, x, out=u)
        _polynomial(out, t, _SINGLE_Q)
        np.true_divide(u, out, out=out)
        return
    np.abs(x, out=t)
    np.less_equal(t, 0.46875, out=mask)
    np.minimum(t, 6.0, out=t)
    _polynomial(out, t, _LARGE_P)
    _polynomial(u, t, _LARGE_Q)
    np.true_divide(out, u, out=out)
    np.multiply(t, t, out=t)
    np.negative(t, out=u)
    np.exp(u, out=u)
    np.multiply(out, u, out=out)
    np.subtract(1.0, out, out=out)
    np.copysign(out, x, out=out)
    np.minimum(t, 0.25, out=t)
    _polynomial(u, t, _SMALL_P)
    np.multiply(x, u, out=x, where=mask)
    _polynomial(u, t, _SMALL_Q)
    np.true_divide(x, u, out=out, where=mask)
