"""Names and meanings of the `Elementwise` functions: one table that every backend implements.

x, y, z are the inputs in order; a, b, ... the constants. Formulas are torch.nn.functional's.
"""

from __future__ import annotations

FUNCTIONS: dict[str, str] = {
    # arithmetic
    "add": "x + a*y",
    "sub": "x - a*y",
    "mul": "x * y",
    "div": "x / y (true division)",
    "div_floor": "floor(x / y), integers included (torch's rounding_mode='floor')",
    "div_trunc": "x / y rounded towards zero",
    "pow": "x ** y",
    "maximum": "larger of x and y, NaN wins",
    "minimum": "smaller of x and y, NaN wins",
    "neg": "-x",
    "square": "x * x",
    "scale": "a * x + b",
    # functions of one array
    "relu": "max(x, 0), NaN stays",
    "leaky_relu": "x if x > 0 else a*x",
    "prelu": "x if x > 0 else y*x, y broadcast",
    "clamp": "x limited to [a, b]; None: no limit; NaN stays",
    "elu": "a*(exp(x*c) - 1) scaled: b*x if x > 0 else b*a*(exp(x*c) - 1); constants (alpha a, scale b, input_scale c)",
    "gelu": "x * Phi(x); constant 'none' (erf) or 'tanh'",
    "silu": "x * sigmoid(x)",
    "mish": "x * tanh(softplus(x))",
    "hardswish": "x * clamp(x + 3, 0, 6) / 6",
    "hardsigmoid": "clamp(x + 3, 0, 6) / 6",
    "softplus": "log(1 + exp(a*x))/a, x where a*x > b; constants (beta, threshold)",
    "softsign": "x / (1 + |x|)",
    "tanhshrink": "x - tanh(x)",
    "hardshrink": "x if |x| > a else 0",
    "softshrink": "x - a above a, x + a below -a, else 0",
    "threshold": "x if x > a else b",
    "log_sigmoid": "log(sigmoid(x)), stable",
    "sigmoid": "1 / (1 + exp(-x)), without overflow",
    "tanh": "tanh(x)",
    "exp": "e ** x",
    "log": "natural logarithm, -inf at 0, NaN below",
    "log1p": "log(1 + x)",
    "sqrt": "square root, NaN below 0",
    "rsqrt": "1 / sqrt(x)",
    "abs": "absolute value; of complex x, its (real) magnitude",
    "sin": "sine",
    "cos": "cosine",
    # losses, element by element; x input, y target
    "bce": "-(y*max(log x, -100) + (1 - y)*max(log(1 - x), -100))",
    "bce_with_logits": "(1 - y)*x + (1 + (z - 1)*y)*(log1p(exp(-|x|)) + max(-x, 0)); z is pos_weight or absent (1)",
    "squared_error": "(x - y)**2",
    "absolute_error": "|x - y|",
    "smooth_l1": "0.5*(x - y)**2/a if |x - y| < a else |x - y| - a/2; a = 0 is |x - y|",
    "huber": "0.5*(x - y)**2 if |x - y| <= a else a*(|x - y| - a/2)",
    "kl_div": "y*(log y - x), 0 where y = 0; constant true: exp(y)*(y - x)",
    "xlogy": "x*log(y), 0 where x = 0 (unless y is NaN)",
    # selection
    "equal": "x == a as the output's dtype",
    "not_equal": "x != a as the output's dtype",
    "select": "y where x is not 0, else z (a constant a may stand for z)",
}
"""Function name -> formula."""
