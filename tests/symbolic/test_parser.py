import pytest

from netspec.symbolic import ExpressionError, parse, symbol

H, W = symbol("H"), symbol("W")


def test_precedence() -> None:
    assert parse("H + 2*W//3 - 1") == H + 2 * W // 3 - 1
    assert parse("-H//2") == (-H) // 2
    assert parse("--4 - -H") == 4 + H
    assert parse(" max( H , 3 ) * 2 ") == parse("2*max(3, H)")


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("", "expected a number, a name or (, got the end", 0),
        ("H +", "expected a number, a name or (, got the end", 3),
        ("H W", 'expected an operator, got "W"', 2),
        ("2H", 'expected an operator, got "H"', 1),
        ("H / 2", 'sizes are integers: use "//", got "/"', 2),
        ("H % 2", "expected a number, a name or one of + - * // ( ), got '%'", 2),
        ("(H", 'expected ")", got the end', 2),
        ("H // (W - W)", "division by zero", 2),
        ("max H", 'expected "(", got "H"', 4),
        ("1" * 20, "expected at most 19 digits, got 20", 0),
        ("Height + 1", 'unknown symbol "Height"; did you mean "height"? (known: W, height)', 0),
        ("q", 'unknown symbol "q" (known: W, height)', 0),
        ("(" * 200, "nested more than 100 deep", 101),
    ],
)
def test_errors(text: str, message: str, offset: int) -> None:
    allowed = ["W", "height"] if "known" in message else None
    with pytest.raises(ExpressionError) as caught:
        parse(text, allowed)
    assert (caught.value.message, caught.value.offset) == (message, offset)


def test_products_that_explode_are_refused() -> None:
    text = "*".join(f"(a{i} + b{i})" for i in range(40))
    with pytest.raises(ExpressionError, match="too large"):
        parse(text)
