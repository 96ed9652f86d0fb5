// The elementwise functions (netspec/operations/elementwise.py): one case each, in the type C.
// Formulas and special values are those of the NumPy backend, which follows ATen/native/cpu.
// Templates over C, so that what the type has not (an order, a logarithm) is left out.

constexpr int NO_OPERAND = -2;

template <class C> __device__ inline C constant(const Stage& stage, int i) {
    if constexpr (is_complex) return convert<C>(complex128{stage.real[i], stage.imaginary[i]});
    else if constexpr (is_real) return (C)stage.real[i];
    else return (C)stage.whole[i];
}

// Named alike for float and double, on the device and on the host.
#define REAL_FUNCTION(name)                                                    \
    __device__ inline float name##_(float x) { return name##f(x); }            \
    __device__ inline double name##_(double x) { return name(x); }
REAL_FUNCTION(exp)
REAL_FUNCTION(expm1)
REAL_FUNCTION(log)
REAL_FUNCTION(log1p)
REAL_FUNCTION(sqrt)
REAL_FUNCTION(sin)
REAL_FUNCTION(cos)
REAL_FUNCTION(tanh)
REAL_FUNCTION(sinh)
REAL_FUNCTION(cosh)
REAL_FUNCTION(erf)
REAL_FUNCTION(floor)
REAL_FUNCTION(trunc)
REAL_FUNCTION(fabs)
#define REAL_FUNCTION2(name)                                                               \
    __device__ inline float name##_(float x, float y) { return name##f(x, y); }            \
    __device__ inline double name##_(double x, double y) { return name(x, y); }
REAL_FUNCTION2(pow)
REAL_FUNCTION2(fmod)
REAL_FUNCTION2(hypot)
REAL_FUNCTION2(atan2)

template <class R> __device__ inline Complex<R> exp_(Complex<R> x) {
    R e = exp_(x.re);
    if (x.im == 0) return {e, x.im};
    return {e * cos_(x.im), e * sin_(x.im)};
}
template <class R> __device__ inline Complex<R> log_(Complex<R> x) {
    return {log_(hypot_(x.re, x.im)), atan2_(x.im, x.re)};
}
template <class R> __device__ inline Complex<R> sqrt_(Complex<R> x) {
    R r = hypot_(x.re, x.im);
    if (r == 0) return {R(0), x.im};
    R t = sqrt_((r + fabs_(x.re)) / 2);
    if (x.re >= 0) return {t, x.im / (2 * t)};
    return {fabs_(x.im) / (2 * t), x.im < 0 || (x.im == 0 && 1 / x.im < 0) ? -t : t};
}
template <class R> __device__ inline Complex<R> sin_(Complex<R> x) {
    return {sin_(x.re) * cosh_(x.im), cos_(x.re) * sinh_(x.im)};
}
template <class R> __device__ inline Complex<R> cos_(Complex<R> x) {
    return {cos_(x.re) * cosh_(x.im), -sin_(x.re) * sinh_(x.im)};
}
template <class R> __device__ inline Complex<R> tanh_(Complex<R> x) {
    // (sinh(2a) + i sin(2b)) / (cosh(2a) + cos(2b)), which overflows for large a
    if (fabs_(x.re) > 20) return {x.re > 0 ? R(1) : R(-1), 4 * sin_(x.im) * cos_(x.im) * exp_(-2 * fabs_(x.re))};
    R bottom = cosh_(2 * x.re) + cos_(2 * x.im);
    return {sinh_(2 * x.re) / bottom, sin_(2 * x.im) / bottom};
}
template <class R> __device__ inline Complex<R> log1p_(Complex<R> x) {
    return log_(Complex<R>{x.re + 1, x.im});
}
template <class R> __device__ inline Complex<R> pow_(Complex<R> x, Complex<R> y) {
    // torch takes exp(y log x), which is NaN for 0 to the power 0
    if (x.re == 0 && x.im == 0) {
        if (y.re > 0 && y.im == 0) return {R(0), R(0)};
        R nan = R(0) / R(0);
        return {nan, nan};
    }
    return exp_(y * log_(x));
}

template <class V> __device__ inline V whole_power(V x, V y) {
    // torch: an integer to a negative power is 0, except that 1 and -1 keep to their parity
    if (y < 0) {
        if (x == 1) return 1;
        if (x == (V)-1) return y % 2 ? (V)-1 : (V)1;
        return 0;
    }
    unsigned long long base = (unsigned long long)(int64)x, result = 1, power = (unsigned long long)(int64)y;
    for (; power; power >>= 1, base *= base)
        if (power & 1) result *= base;
    return (V)result;
}

template <class V> __device__ inline V floored(V x, V y) {  // floor(x / y) as Python divides floats
    if (y == 0) return x / y;
    V rest = fmod_(x, y), quotient = (x - rest) / y;
    if (rest != 0 && (y < 0) != (rest < 0)) quotient -= 1;
    if (quotient == 0) return x / y < 0 ? V(-0.0) : V(0);
    V whole = floor_(quotient);
    return quotient - whole > V(0.5) ? whole + 1 : whole;
}

template <class V> __device__ inline V log_sigmoid_(V x) {
    return minimum(x, V(0)) - log1p_(exp_(-fabs_(x)));
}
template <class V> __device__ inline V xlogy_(V x, V y) {
    return x == 0 && !is_nan(y) ? V(0) : log_(y) * x;
}
template <class V> __device__ inline V sixths(V x) {  // clamp(x + 3, 0, 6)
    V t = x + 3;
    t = t < 0 ? V(0) : t;
    return t > 6 ? V(6) : t;
}

#define EACH(expression)                                \
    {                                                   \
        _Pragma("unroll") for (int u = 0; u < U; u++) { \
            const C x = xs[u], y = ys[u], z = zs[u];    \
            (void)x, (void)y, (void)z;                  \
            xs[u] = (C)(expression);                    \
        }                                               \
        break;                                          \
    }

template <int U, class C> __device__ inline void apply_real(const Stage& stage, C* xs, const C* ys, const C* zs) {
    // functions of real numbers alone
    const C a = constant<C>(stage, 0), b = constant<C>(stage, 1), c = constant<C>(stage, 2);
    (void)a, (void)b, (void)c;
    switch (stage.function) {
        case F_div_floor: EACH(floored(x, y))
        case F_div_trunc: EACH(trunc_(x / y))
        case F_leaky_relu: EACH(x > 0 ? x : a * x)
        case F_prelu: EACH(x > 0 ? x : y * x)
        case F_elu: EACH(x > 0 ? b * x : b * a * expm1_(x * c))
        case F_gelu:
            if (stage.given & 1)  // approximate='tanh'
                EACH(C(0.5) * x * (1 + tanh_(C(0.7978845608028654) * (x + C(0.044715) * x * x * x))))
            else
                EACH(C(0.5) * x * (1 + erf_(x * C(0.7071067811865476))))
        case F_mish: EACH(x * tanh_(log1p_(exp_(x))))
        case F_hardswish: EACH(x * sixths(x) * C(1.0 / 6))
        case F_hardsigmoid: EACH(sixths(x) * C(1.0 / 6))
        case F_softplus: EACH(x * a > b ? x : log1p_(exp_(x * a)) / a)
        case F_softshrink: EACH(is_nan(x) ? x : x > a ? x - a : x < -a ? x + a : C(0))
        case F_log_sigmoid: EACH(log_sigmoid_(x))
        case F_bce: EACH((y - 1) * maximum(log1p_(-x), C(-100)) - y * maximum(log_(x), C(-100)))
        case F_bce_with_logits:
            if (stage.operands[2] != NO_OPERAND)
                EACH((1 - y) * x - log_sigmoid_(x) * ((z - 1) * y + 1))
            else
                EACH((1 - y) * x - log_sigmoid_(x))
        case F_smooth_l1: EACH(fabs_(x - y) < a ? C(0.5) * fabs_(x - y) * fabs_(x - y) / a : fabs_(x - y) - C(0.5) * a)
        case F_huber:
            EACH(fabs_(x - y) <= a ? C(0.5) * fabs_(x - y) * fabs_(x - y) : a * (fabs_(x - y) - C(0.5) * a))
        case F_kl_div:
            if (stage.whole[0])
                EACH(exp_(y) * (y - x))
            else
                EACH(xlogy_(y, y) - y * x)
        case F_xlogy: EACH(xlogy_(x, y))
        default: break;
    }
}

template <int U, class C> __device__ inline void apply_inexact(const Stage& stage, C* xs, const C* ys, const C* zs) {
    // functions of real and complex numbers
    const C one = convert<C>(1.0f);
    switch (stage.function) {
        case F_div: EACH(x / y)
        case F_pow: EACH(pow_(x, y))
        case F_exp: EACH(exp_(x))
        case F_log: EACH(log_(x))
        case F_log1p: EACH(log1p_(x))
        case F_sqrt: EACH(sqrt_(x))
        case F_rsqrt: EACH(one / sqrt_(x))
        case F_sin: EACH(sin_(x))
        case F_cos: EACH(cos_(x))
        case F_tanh: EACH(tanh_(x))
        case F_sigmoid: EACH(one / (one + exp_(-x)))
        case F_silu: EACH(x / (one + exp_(-x)))
        case F_tanhshrink: EACH(x - tanh_(x))
        case F_abs:
            if constexpr (is_real) EACH(fabs_(x)) else break;  // of a complex operand: F_magnitude
        case F_softsign:
            if constexpr (is_real) EACH(x / (fabs_(x) + 1))
            else EACH(x / convert<C>(hypot_(x.re, x.im) + 1))
        default:
            if constexpr (is_real) apply_real<U, C>(stage, xs, ys, zs);
    }
}

template <int U, class C> __device__ inline void apply_whole(const Stage& stage, C* xs, const C* ys, const C* zs, void* flags) {
    // functions that are others for whole numbers; dividing by 0 is told to the host
    switch (stage.function) {
        case F_abs: EACH(x < 0 ? -x : x)
        case F_pow: EACH(whole_power(x, y))
        case F_div_floor:
        case F_div_trunc: {
            const bool down = stage.function == F_div_floor;
#pragma unroll
            for (int u = 0; u < U; u++) {
                const C x = xs[u], y = ys[u];
                if (y == 0) {
                    report(flags, 0);
                    xs[u] = 0;
                } else if (y == (C)-1 && (C)-1 < 0) {  // the lowest number has no opposite
                    xs[u] = (C)(0 - (unsigned long long)(int64)x);
                } else {
                    xs[u] = (C)(x / y - (down && x % y != 0 && (x < 0) != (y < 0)));
                }
            }
            break;
        }
        default: break;
    }
}

// xs becomes function(xs, ys, zs).
template <int U, class C> __device__ inline void apply(const Stage& stage, C* xs, const C* ys, const C* zs, void* flags) {
    const C a = constant<C>(stage, 0), b = constant<C>(stage, 1), c = constant<C>(stage, 2);
    const bool plain = !(stage.given & 1) || stage.real[0] == 1;  // a factor of 1, or none
    (void)a, (void)b, (void)c;
    switch (stage.function) {
        case F_add:
            if (plain) EACH(x + y) else EACH(x + a * y)
        case F_mul: EACH(x * y)
        case F_affine: EACH(x * y + z)
        case F_scale: EACH(a * x + b)
        case F_square: EACH(x * x)
        case F_maximum:
            if constexpr (!is_complex) EACH(maximum(x, y)) else break;
        case F_minimum:
            if constexpr (!is_complex) EACH(minimum(x, y)) else break;
        case F_relu:
            if constexpr (!is_complex) EACH(x < C(0) ? C(0) : x) else break;
        case F_clamp:
            if constexpr (!is_complex) {
                const bool low = stage.given & 1, high = stage.given & 2;
#pragma unroll
                for (int u = 0; u < U; u++) {
                    if (low && xs[u] < a) xs[u] = a;
                    if (high && xs[u] > b) xs[u] = b;
                    if (low && is_nan(a)) xs[u] = a;
                    if (high && is_nan(b)) xs[u] = b;
                }
            }
            break;
        case F_threshold:
            if constexpr (!is_complex) EACH(x <= a ? b : x) else break;
        case F_hardshrink:
            if constexpr (!is_complex) EACH((x < 0 ? -x : x) <= a ? C(0) : x) else break;
        case F_absolute_error:
            if constexpr (is_complex || is_bool) break;
            else EACH((C)(x - y) < C(0) ? y - x : x - y)  // unsigned differences wrap round, as torch's do
        default:
            if constexpr (!is_bool) {
                switch (stage.function) {
                    case F_sub:
                        if (plain) EACH(x - y) else EACH(x - a * y)
                    case F_neg: EACH(-x)
                    case F_squared_error: EACH((x - y) * (x - y))
                    default:
                        if constexpr (is_integer) apply_whole<U, C>(stage, xs, ys, zs, flags);
                        else apply_inexact<U, C>(stage, xs, ys, zs);
                }
            }
    }
}
