// A chain of elementwise stages on a running value that stays in registers: the whole body of an elementwise
// kernel, and the end of others. The stages are read from the arguments, the same for all threads, so that one
// compiled kernel does every chain; decoding is shared by several elements of a thread.

#include "functions.cuh"

template <int U> struct FlatPlaces {
    static constexpr int count = U;
    int64 at[U];
    __device__ inline int64 offset(int u, const Array& array) const { return at[u] * array.strides[0]; }
};

struct StridedPlaces {
    static constexpr int count = 1;
    Place place;
    __device__ inline StridedPlaces(int64 index, const long long* sizes, int rank) : place(index, sizes, rank) {}
    __device__ inline int64 offset(int, const Array& array) const { return place.offset(array.strides); }
};

// An operand as it lies: comparisons and conditions are made in its own type.
template <class Places> __device__ inline bool truth(const Array& array, const Places& places, int u) {
    return load_as<bool>(array, places.offset(u, array));
}
template <class Places>
__device__ inline bool equals(const Stage& stage, const Array& array, const Places& places, int u) {
    int64 at = places.offset(u, array);
    switch (array.dtype) {
        case D_float64: return elements<double>(array)[at] == stage.real[0];
        case D_float16:
        case D_bfloat16:
        case D_float32: return load_as<float>(array, at) == (float)stage.real[0];
        case D_complex64:
        case D_complex128:
            return load_as<complex128>(array, at) == complex128{stage.real[0], stage.imaginary[0]};
        default:  // a constant with a fraction equals no whole number
            return (double)stage.whole[0] == stage.real[0] ? load_as<int64>(array, at) == stage.whole[0]
                                                            : false;
    }
}

template <class Places, class C>
__device__ inline void operand(const Chain& chain, int number, const Places& places, const C* running, C* out) {
    if (number < 0) {
#pragma unroll
        for (int u = 0; u < Places::count; u++) out[u] = running[u];
        return;
    }
    const Array& array = chain.operands[number];
    if (array.dtype == NETSPEC_DTYPE) {
#pragma unroll
        for (int u = 0; u < Places::count; u++) out[u] = loaded(array, places.offset(u, array));
        return;
    }
#pragma unroll
    for (int u = 0; u < Places::count; u++) out[u] = load_as<C>(array, places.offset(u, array));
}

template <class Places, class C>
__device__ inline void run_chain(const Chain& chain, const Places& places, C* running) {
    constexpr int U = Places::count;
    if (chain.start >= 0) operand(chain, chain.start, places, running, running);
    for (int s = 0; s < chain.stage_count; s++) {
        const Stage& stage = chain.stages[s];
        const int* from = stage.operands;
        C x[U] = {}, y[U] = {}, z[U] = {};
        switch (stage.function) {
            case F_select:
                operand(chain, from[1], places, running, y);
#pragma unroll
                for (int u = 0; u < U; u++) {
                    bool chosen = from[0] < 0 ? convert<bool>(running[u]) : truth(chain.operands[from[0]], places, u);
                    if (!chosen)
                        y[u] = stage.given & 1 ? constant<C>(stage, 0)
                                               : from[2] < 0 ? running[u]
                                                             : load_as<C>(chain.operands[from[2]],
                                                                          places.offset(u, chain.operands[from[2]]));
                    x[u] = y[u];
                }
                break;
            case F_equal:
            case F_not_equal:
#pragma unroll
                for (int u = 0; u < U; u++) {
                    bool same = from[0] < 0 ? running[u] == constant<C>(stage, 0)
                                            : equals(stage, chain.operands[from[0]], places, u);
                    x[u] = convert<C>(same == (stage.function == F_equal));
                }
                break;
            case F_magnitude:
                if constexpr (is_real) {
#pragma unroll
                    for (int u = 0; u < U; u++) {
                        const Array& array = chain.operands[from[0]];
                        complex128 c = load_as<complex128>(array, places.offset(u, array));
                        x[u] = (C)hypot(c.re, c.im);
                    }
                }
                break;
            default:
                operand(chain, from[0], places, running, x);
                if (from[1] != NO_OPERAND) operand(chain, from[1], places, running, y);
                if (from[2] != NO_OPERAND) operand(chain, from[2], places, running, z);
                apply<U, C>(stage, x, y, z, chain.flags);
        }
#pragma unroll
        for (int u = 0; u < U; u++)  // a float16 network rounds after each layer, but a chain is one layer's
            running[u] = x[u];
    }
}
