// Elements that are moved or made: padding, resampling, picking, random numbers. And checks of values.

#include "planes.cuh"

__device__ inline int64 offset_of(int64 index, const long long* sizes, int rank, const Array& array) {
    int64 sum = 0;
#pragma unroll 1
    for (int axis = rank - 1; axis >= 0; axis--)  // as a loop: there are few as a rule
        sum += (axis ? split(index, sizes[axis]) : index) * array.strides[axis];
    return sum;
}

// --- padding -----------------------------------------------------------------------------------------------

enum { CONSTANT, REFLECT, REPLICATE, CIRCULAR };  // moves.py numbers them alike

__device__ inline int64 padded_from(const Pad& a, int axis, int64 place) {  // the place of x, or -1 outside
    const int64 at = place - a.before[axis], last = a.limits[axis] - 1;
    switch (a.mode) {
        case CONSTANT: return at <= last ? at : -1;
        case REFLECT: return at < 0 ? -at : at > last ? 2 * last - at : at;
        case REPLICATE: return at < 0 ? 0 : at > last ? last : at;
        default: {
            const int64 first = a.before[axis] < 0 ? -a.before[axis] : 0, kept = a.kept[axis];
            const int64 turned = (at - first) % kept;
            return first + (turned < 0 ? turned + kept : turned);
        }
    }
}

NETSPEC_KERNEL(pad, Pad) {
    const T outside = *(const T*)a.value;
    EACH_TURN(first, a.count, TURNS) {
        T value[TURNS];
        int64 to[TURNS];
#pragma unroll
        for (int k = 0; k < TURNS; k++) {
            value[k] = outside;
            if (first + k * step < a.count) {
                bool inside = true;
                int64 rest = first + k * step, from = 0;
                to[k] = 0;
#pragma unroll 1
                for (int axis = a.rank - 1; axis >= 0; axis--) {
                    const int64 place = axis ? split(rest, a.sizes[axis]) : rest;
                    const int64 at = padded_from(a, axis, place);
                    inside = inside && at >= 0;
                    from += at * a.x.strides[axis], to[k] += place * a.out.strides[axis];
                }
                if (inside) value[k] = elements<T>(a.x)[from];
            }
        }
#pragma unroll
        for (int k = 0; k < TURNS; k++)
            if (first + k * step < a.count) ((T*)a.out.data)[to[k]] = value[k];
    }
}

// --- resampling --------------------------------------------------------------------------------------------

template <class V> struct RealOf {
    typedef V type;
};
template <class R> struct RealOf<Complex<R>> {
    typedef R type;
};
template <class R> __device__ inline R weighted(R x, R weight) { return x * weight; }
template <class R> __device__ inline Complex<R> weighted(Complex<R> x, R weight) {
    return {x.re * weight, x.im * weight};
}

__device__ inline int64 read_from(const Resize& a, int axis, int at, int tap) {  // elements along that axis
    const int from = a.places[axis] ? ((const int*)a.places[axis])[(int64)at * a.taps[axis] + tap] : at;
    return from * a.x.strides[2 + axis];
}
template <class R> __device__ inline R weight_of(const Resize& a, int axis, int at, int tap) {
    return a.weights[axis] ? ((const R*)a.weights[axis])[(int64)at * a.taps[axis] + tap] : R(1);
}

template <int U> __device__ inline void resize_by_copy(const Resize& a) {
    constexpr int turns = U == 1 ? TURNS : 2;
    EACH_TURN(first, a.count / U, turns) {
        T values[turns][U];
        int64 to[turns];
#pragma unroll
        for (int k = 0; k < turns; k++) {
            if (first + k * step < a.count / U) {
                const PlanePlace place(first + k * step, a.batch, a.outputs, a.last, U);
                to[k] = place.offset(a.out);
                int64 from = place.plane(a.x);
#pragma unroll
                for (int axis = 0; axis < SPACE; axis++) from += read_from(a, axis, place.at[axis], 0);
                take_pack<U>(a.x, from, values[k]);
            }
        }
#pragma unroll
        for (int k = 0; k < turns; k++)
            if (first + k * step < a.count / U) put_pack<U>(a.out, to[k], values[k]);
    }
}

template <class V, int U> __device__ inline void resize_by_sums(const Resize& a) {  // the last axis first
    if constexpr (Kind<V>::real || Kind<V>::complex) {
        typedef typename RealOf<V>::type R;
        EACH_INDEX(i, a.count / U) {
            const PlanePlace place(i, a.batch, a.outputs, a.last, U);
            const int64 plane = place.plane(a.x);
            V total[U] = {};
            for (int d = 0; d < a.taps[0]; d++) {
                const int64 slice = plane + read_from(a, 0, place.at[0], d);
                V rows[U] = {};
                for (int h = 0; h < a.taps[1]; h++) {
                    const int64 row = slice + read_from(a, 1, place.at[1], h);
                    V line[U] = {};
                    for (int w = 0; w < a.taps[2]; w++) {
                        const R weight = weight_of<R>(a, 2, place.at[2], w);
                        V value[U];
                        load_pack<U>(a.x, row + read_from(a, 2, place.at[2], w), value);
#pragma unroll
                        for (int u = 0; u < U; u++) line[u] = line[u] + weighted(value[u], weight);
                    }
                    const R weight = weight_of<R>(a, 1, place.at[1], h);
#pragma unroll
                    for (int u = 0; u < U; u++) rows[u] = rows[u] + weighted(line[u], weight);
                }
                const R weight = weight_of<R>(a, 0, place.at[0], d);
#pragma unroll
                for (int u = 0; u < U; u++) total[u] = total[u] + weighted(rows[u], weight);
            }
            store_pack<U>(a.out, place.offset(a.out), total);
        }
    }
}

NETSPEC_KERNEL(resize_copy, Resize) { resize_by_copy<1>(a); }
NETSPEC_KERNEL(resize_copy_packed, Resize) { resize_by_copy<PACK>(a); }
NETSPEC_KERNEL(resize_sum, Resize) { resize_by_sums<C, 1>(a); }
NETSPEC_KERNEL(resize_sum_packed, Resize) { resize_by_sums<C, PACK>(a); }

// --- picking by index --------------------------------------------------------------------------------------

NETSPEC_KERNEL(take_along, Take) {
    EACH_INDEX(i, a.count) {
        const Place place(i, a.sizes, a.rank);
        const int64 at = elements<int64>(a.indices)[place.offset(a.indices.strides)];
        if (at < 0 || at >= a.classes) report(a.flags, at);
        else put_pack<1>(a.out, place.offset(a.out.strides),
                         elements<T>(a.x) + place.offset(a.x.strides) + at * a.along);
    }
}

// --- random numbers: Philox4x32-10 (Salmon et al., 2011), one counter for each few elements ----------------

enum { BERNOULLI, UNIFORM };  // moves.py numbers them alike

__device__ inline void philox(unsigned* counter, unsigned key, unsigned second_key) {
    for (int round = 0; round < 10; round++) {
        const unsigned long long first = 0xD2511F53ull * counter[0], second = 0xCD9E8D57ull * counter[2];
        counter[0] = (unsigned)(second >> 32) ^ counter[1] ^ key;
        counter[2] = (unsigned)(first >> 32) ^ counter[3] ^ second_key;
        counter[1] = (unsigned)second, counter[3] = (unsigned)first;
        key += 0x9E3779B9u, second_key += 0xBB67AE85u;
    }
}

template <class V> struct Drawn {  // numbers in [0, 1), as NumPy makes them of random words
    typedef float type;
    static constexpr int each = 4;
    static __device__ inline float number(const unsigned* words, int k) {
        return (words[k] >> 8) * 5.9604644775390625e-8f;
    }
};
template <> struct Drawn<double> {
    typedef double type;
    static constexpr int each = 2;
    static __device__ inline double number(const unsigned* words, int k) {
        return ((words[2 * k] >> 5) * 67108864.0 + (words[2 * k + 1] >> 6)) * 1.1102230246251565e-16;
    }
};

NETSPEC_KERNEL(random_numbers, Random) {
    typedef typename Drawn<T>::type R;
    constexpr int each = Drawn<T>::each;
    const int64 seed = *(const int64*)a.seed, part = (a.count + each - 1) / each;
    EACH_INDEX(i, part) {
        unsigned words[4] = {
            (unsigned)i, (unsigned)(i >> 32), (unsigned)a.stream, (unsigned)(a.stream >> 32)};
        philox(words, (unsigned)seed, (unsigned)(seed >> 32));
#pragma unroll
        for (int k = 0; k < each; k++) {
            const int64 at = k * part + i;  // so that neighbouring threads write side by side
            if (at >= a.count) break;
            const R number = Drawn<T>::number(words, k);
            const R low = (R)a.low, width = (R)(a.high - a.low);
            const R value = a.kind == BERNOULLI ? R(number < low) : number * width + low;
            store(a.out, offset_of(at, a.sizes, a.rank, a.out), convert<C>(value));
        }
    }
}

// --- checks of values --------------------------------------------------------------------------------------

template <class V> __device__ inline bool allowed(const Require& a, V x) {  // NaN is not
    if constexpr (Kind<V>::real) {
        return (x >= (V)a.low && x <= (V)a.high) || (a.ignores && x == (V)a.ignore);
    } else if constexpr (!Kind<V>::complex) {
        return ((double)x >= a.low && (double)x <= a.high) || (a.ignores && (int64)x == a.ignore);
    } else {
        return true;
    }
}

NETSPEC_KERNEL(require_range, Require) {
    bool refused = false;
    EACH_INDEX(i, a.count) refused = refused || !allowed(a, loaded(a.x, offset_of(i, a.sizes, a.rank, a.x)));
    if (refused) report(a.flags, 1);
}
