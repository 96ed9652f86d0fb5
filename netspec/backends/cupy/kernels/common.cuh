// Number types, conversions and places, for every kernel. The structs are declared by arguments.py, in front of this.
// T is the element type that a source is compiled for; C, the type it is computed in.

#ifndef NETSPEC_KERNEL  // the tests compile the same source for the host, with a definition of their own
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 700  // Pascal has no word for arguments that are read where they lie
#define NETSPEC_CONSTANT
#else
#define NETSPEC_CONSTANT __grid_constant__
#endif
#define NETSPEC_KERNEL(name, Arguments) \
    extern "C" __global__ void name(const NETSPEC_CONSTANT Arguments a)
#define NETSPEC_BLOCK_KERNEL NETSPEC_KERNEL  // its threads meet at barriers
#define NETSPEC_SHARED(memory) extern __shared__ double memory[]
#endif

typedef signed char int8;
typedef unsigned char uint8;
typedef short int16;
typedef int int32;
typedef long long int64;

struct float16 {
    unsigned short bits;
};
struct bfloat16 {
    unsigned short bits;
};

__device__ inline float widened(float16 h) {
#ifdef __CUDA_ARCH__
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits));
    return f;
#else
    // the same by hand: subnormal numbers are scaled, infinities and NaN keep their payload
    unsigned sign = (h.bits & 0x8000u) << 16, exponent = (h.bits >> 10) & 31, mantissa = h.bits & 1023;
    union { unsigned u; float f; } r;
    if (exponent == 0) {
        r.f = mantissa * 5.9604644775390625e-8f;
        r.u |= sign;
    } else {
        r.u = sign | ((exponent == 31 ? 255 : exponent + 112) << 23) | (mantissa << 13);
    }
    return r.f;
#endif
}

__device__ inline float widened(bfloat16 h) {
    union { unsigned u; float f; } r;
    r.u = (unsigned)h.bits << 16;
    return r.f;
}

__device__ inline float16 narrowed16(float f) {
    float16 h;
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(f));
#else
    union { float f; unsigned u; } r;
    r.f = f;
    unsigned sign = (r.u >> 16) & 0x8000u, rest = r.u & 0x7fffffffu;
    if (rest > 0x7f800000u) {
        h.bits = sign | 0x7e00u;
    } else if (rest >= 0x477ff000u) {  // 65520 and above round to infinity
        h.bits = sign | 0x7c00u;
    } else if (rest < 0x38800000u) {  // subnormal: adding a half of the right size rounds to even
        union { float f; unsigned u; } s;
        s.u = rest;
        s.f += 0.5f;
        h.bits = sign | (s.u - 0x3f000000u);
    } else {
        h.bits = sign | ((rest + 0xfffu + ((rest >> 13) & 1) - 0x38000000u) >> 13);
    }
#endif
    return h;
}

__device__ inline bfloat16 narrowed_b16(float f) {
    union { float f; unsigned u; } r;
    r.f = f;
    bfloat16 h;
    h.bits = f != f ? 0x7fc0u : (r.u + 0x7fffu + ((r.u >> 16) & 1)) >> 16;
    return h;
}

template <class R> struct Complex {
    R re, im;
};
typedef Complex<float> complex64;
typedef Complex<double> complex128;

// --- what a type is -----------------------------------------------------------------------------------------

template <class T> struct Kind {  // integers and bool
    typedef T Compute;
    static constexpr bool real = false, complex = false, half = false;
};
template <> struct Kind<float> {
    typedef float Compute;
    static constexpr bool real = true, complex = false, half = false;
};
template <> struct Kind<double> {
    typedef double Compute;
    static constexpr bool real = true, complex = false, half = false;
};
template <> struct Kind<float16> {
    typedef float Compute;
    static constexpr bool real = true, complex = false, half = true;
};
template <> struct Kind<bfloat16> {
    typedef float Compute;
    static constexpr bool real = true, complex = false, half = true;
};
template <class R> struct Kind<Complex<R>> {
    typedef Complex<R> Compute;
    static constexpr bool real = false, complex = true, half = false;
};

template <class A, class B> struct Same {
    static constexpr bool value = false;
};
template <class A> struct Same<A, A> {
    static constexpr bool value = true;
};

typedef NETSPEC_TYPE T;
typedef typename Kind<T>::Compute C;
constexpr bool is_bool = Same<C, bool>::value;
constexpr bool is_real = Kind<C>::real;
constexpr bool is_complex = Kind<C>::complex;
constexpr bool is_integer = !is_real && !is_complex;

// --- arithmetic of complex numbers ------------------------------------------------------------------------------

template <class R> __device__ inline Complex<R> operator+(Complex<R> x, Complex<R> y) {
    return {x.re + y.re, x.im + y.im};
}
template <class R> __device__ inline Complex<R> operator-(Complex<R> x, Complex<R> y) {
    return {x.re - y.re, x.im - y.im};
}
template <class R> __device__ inline Complex<R> operator-(Complex<R> x) {
    return {-x.re, -x.im};
}
template <class R> __device__ inline Complex<R> operator*(Complex<R> x, Complex<R> y) {
    return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}
template <class R> __device__ inline Complex<R> operator/(Complex<R> x, Complex<R> y) {
    // Smith's method, as NumPy divides
    R re = y.re < 0 ? -y.re : y.re, im = y.im < 0 ? -y.im : y.im;
    if (re >= im) {
        if (re == 0 && im == 0) return {x.re / re, x.im / re};
        R ratio = y.im / y.re, scale = R(1) / (y.re + y.im * ratio);
        return {(x.re + x.im * ratio) * scale, (x.im - x.re * ratio) * scale};
    }
    R ratio = y.re / y.im, scale = R(1) / (y.re * ratio + y.im);
    return {(x.re * ratio + x.im) * scale, (x.im * ratio - x.re) * scale};
}
template <class R> __device__ inline bool operator==(Complex<R> x, Complex<R> y) {
    return x.re == y.re && x.im == y.im;
}
template <class R> __device__ inline bool operator!=(Complex<R> x, Complex<R> y) {
    return !(x == y);
}

// --- conversions, as NumPy's: real part of complex, towards zero for integers, not 0 for bool -------------------

template <class To> struct To_ {
    template <class From> static __device__ inline To from(From x) {
        // Small whole numbers wrap round: -1 is 255, which a device would make 0 on the straight way.
        if constexpr (Kind<From>::real && !Kind<To>::real && sizeof(To) < sizeof(int)) return (To)(int)x;
        else return (To)x;
    }
    static __device__ inline To from(float16 x) { return from(widened(x)); }
    static __device__ inline To from(bfloat16 x) { return from(widened(x)); }
    template <class R> static __device__ inline To from(Complex<R> x) { return from(x.re); }
};
template <> struct To_<bool> {
    template <class From> static __device__ inline bool from(From x) { return x != From(0); }
    static __device__ inline bool from(float16 x) { return widened(x) != 0; }
    static __device__ inline bool from(bfloat16 x) { return widened(x) != 0; }
    template <class R> static __device__ inline bool from(Complex<R> x) { return x.re != 0 || x.im != 0; }
};
template <> struct To_<float16> {
    template <class From> static __device__ inline float16 from(From x) { return narrowed16(To_<float>::from(x)); }
};
template <> struct To_<bfloat16> {
    template <class From> static __device__ inline bfloat16 from(From x) { return narrowed_b16(To_<float>::from(x)); }
};
template <class R> struct To_<Complex<R>> {
    template <class From> static __device__ inline Complex<R> from(From x) { return {To_<R>::from(x), R(0)}; }
    template <class Q> static __device__ inline Complex<R> from(Complex<Q> x) { return {(R)x.re, (R)x.im}; }
};
template <class To, class From> __device__ inline To convert(From x) {
    return To_<To>::from(x);
}

template <class To> __device__ inline To load_as(const Array& array, int64 at) {
    switch (array.dtype) {
        case D_bool: return convert<To>(((const bool*)array.data)[at]);
        case D_uint8: return convert<To>(((const uint8*)array.data)[at]);
        case D_int8: return convert<To>(((const int8*)array.data)[at]);
        case D_int16: return convert<To>(((const int16*)array.data)[at]);
        case D_int32: return convert<To>(((const int32*)array.data)[at]);
        case D_int64: return convert<To>(((const int64*)array.data)[at]);
        case D_float16: return convert<To>(((const float16*)array.data)[at]);
        case D_bfloat16: return convert<To>(((const bfloat16*)array.data)[at]);
        case D_float32: return convert<To>(((const float*)array.data)[at]);
        case D_float64: return convert<To>(((const double*)array.data)[at]);
        case D_complex64: return convert<To>(((const complex64*)array.data)[at]);
        default: return convert<To>(((const complex128*)array.data)[at]);
    }
}

template <class Element> __device__ inline const Element* elements(const Array& array) {
    return (const Element*)array.data;
}
__device__ inline C loaded(const Array& array, int64 at) {
    return convert<C>(elements<T>(array)[at]);
}
__device__ inline void store(const Array& array, int64 at, C value) {
    ((T*)array.data)[at] = convert<T>(value);
}

// --- places ------------------------------------------------------------------------------------------------------

constexpr int64 NARROW = 0x7fffffff;  // below it indices are divided as 32-bit numbers, which is ten times faster

__device__ inline int64 split(int64& rest, int64 size) {
    // the last coordinate of a row-major index, which keeps the others
    if (rest <= NARROW && size <= NARROW) {
        unsigned quotient = (unsigned)rest / (unsigned)size, remainder = (unsigned)rest - quotient * (unsigned)size;
        rest = quotient;
        return remainder;
    }
    int64 quotient = rest / size, remainder = rest - quotient * size;
    rest = quotient;
    return remainder;
}

struct Place {
    int64 at[RANK];
    int rank;
    __device__ inline Place(int64 index, const long long* sizes, int rank) : rank(rank) {
#pragma unroll
        for (int axis = RANK - 1; axis >= 0; axis--)
            if (axis < rank) at[axis] = axis == 0 ? index : split(index, sizes[axis]);
    }
    __device__ inline int64 offset(const long long* strides) const {
        int64 sum = 0;
#pragma unroll
        for (int axis = 0; axis < RANK; axis++)
            if (axis < rank) sum += at[axis] * strides[axis];
        return sum;
    }
};

#define EACH_INDEX(i, count)                                                                     \
    for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x, step = (int64)gridDim.x * blockDim.x; \
         i < (count); i += step)

template <class V> __device__ inline bool is_nan(V x) {
    return x != x;
}
template <class V> __device__ inline V maximum(V x, V y) {  // NaN wins
    return x > y || is_nan(x) ? x : y;
}
template <class V> __device__ inline V minimum(V x, V y) {
    return x < y || is_nan(x) ? x : y;
}

template <class V> struct Lowest {  // integers: all bits but the sign's are 0
    static __device__ inline V value() { return (V)-1 > (V)0 ? (V)0 : (V)((V)1 << (sizeof(V) * 8 - 1)); }
};
template <> struct Lowest<bool> {
    static __device__ inline bool value() { return false; }
};
template <> struct Lowest<float> {
    static __device__ inline float value() {  // as bits: the division would be one at run time
        union { unsigned u; float f; } r;
        r.u = 0xff800000u;
        return r.f;
    }
};
template <> struct Lowest<double> {
    static __device__ inline double value() {
        union { unsigned long long u; double f; } r;
        r.u = 0xfff0000000000000ull;
        return r.f;
    }
};

// What a kernel refuses is told to the host by the lowest and the highest value that it met (see session.py).
__device__ inline void report(void* flags, int64 value) {
    atomicMin((long long*)flags, (long long)value);
    atomicMax((long long*)flags + 1, (long long)value);
}
