// Pooling: one thread an output, or a pack of channels, or several threads where there are few outputs with
// large windows. And the way back: values at the indices that a pool has told.

#include "planes.cuh"

// --- windows -----------------------------------------------------------------------------------------------

struct Window {  // places of each axis inside the input: first, first + step, ... below stop
    int first[SPACE], stop[SPACE], step[SPACE];
    __device__ inline Window(const Pool& a, const PlanePlace& place) {
#pragma unroll
        for (int axis = 0; axis < SPACE; axis++) {
            const int size = a.sizes[axis], at = place.at[axis];
            if (a.adaptive) {
                int64 begin = (int64)at * size, end = (int64)(at + 1) * size + a.outputs[axis] - 1;
                split(begin, a.outputs[axis]), split(end, a.outputs[axis]);
                first[axis] = (int)begin, stop[axis] = (int)end, step[axis] = 1;
                continue;
            }
            const int start = at * a.stride[axis] - a.padding[axis], dilation = a.dilation[axis];
            const int end = start + (a.kernel[axis] - 1) * dilation + 1;
            first[axis] = start < 0 ? start + (dilation - 1 - start) / dilation * dilation : start;
            stop[axis] = end < size ? end : size, step[axis] = dilation;
        }
    }
    __device__ inline int64 beginning(const Pool& a) const {
        return flat(a.sizes, first[0], first[1], first[2]);
    }
    __device__ inline int count(int axis) const {
        return stop[axis] > first[axis] ? (stop[axis] - first[axis] - 1) / step[axis] + 1 : 0;
    }
};

__device__ inline int64 divisor(const Pool& a, const PlanePlace& place, const Window& window) {
    if (a.divisor) return a.divisor;
    int64 product = 1;
#pragma unroll
    for (int axis = 0; axis < SPACE; axis++) {
        int start = window.first[axis], stop = window.stop[axis];
        if (a.count_padding && !a.adaptive) {
            const int end = a.sizes[axis] + a.padding[axis];
            start = place.at[axis] * a.stride[axis] - a.padding[axis], stop = start + a.kernel[axis];
            if (stop > end) stop = end;
        }
        product *= stop > start ? stop - start : 1;
    }
    return product;
}

template <class V> __device__ inline V divided(V total, int64 number) {  // integers: towards zero
    if constexpr (Kind<V>::real || Kind<V>::complex) {
        return total / convert<V>(number);
    } else if constexpr (is_bool) {
        return total;
    } else {
        const V by = (V)number;
        if (by == 0) return 0;
        if ((V)-1 < (V)0 && by == (V)-1) return (V)(0 - (unsigned long long)(int64)total);
        return (V)(total / by);
    }
}

// --- what a window becomes: the values of a thread in row-major order, then those of other threads ---------

struct Sum {
    static constexpr bool possible = true, divides = true, indexed = false;
    C value;
    __device__ inline void begin(int64) { value = convert<C>(0); }
    __device__ inline void take(C x, int64) { value = (C)(value + x); }
    __device__ inline void merge(const Sum& other) { take(other.value, 0); }
};

template <class V> struct Largest {  // NaN wins
    static constexpr bool possible = !Kind<V>::complex, divides = false, indexed = false;
    V value;
    __device__ inline void begin(int64) { value = Lowest<V>::value(); }
    __device__ inline void take(V x, int64) {
        if (x > value || is_nan(x)) value = x;
    }
    __device__ inline void merge(const Largest& other) { take(other.value, 0); }
};

template <class V> struct LargestPlace {  // the first of equal values, the last of several NaN
    static constexpr bool possible = !Kind<V>::complex, divides = false, indexed = true;
    V value;
    int64 at;
    __device__ inline void begin(int64 first) { value = Lowest<V>::value(), at = first; }
    __device__ inline void take(V x, int64 place) {
        if (x > value || is_nan(x)) value = x, at = place;
    }
    __device__ inline void merge(const LargestPlace& other) {
        const bool nan = is_nan(value), earlier = other.value == value && other.at < at;
        const bool better = other.value > value || earlier;
        if (is_nan(other.value) ? !nan || other.at > at : !nan && better) *this = other;
    }
};

template <class Best, int U>
__device__ inline void finish(const Pool& a, const PlanePlace& place, const Window& window, Best* best) {
    C value[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        value[u] = best[u].value;
        if constexpr (Best::divides) value[u] = divided(value[u], divisor(a, place, window));
    }
    store_pack<U>(a.values, place.offset(a.values), value);
    if constexpr (Best::indexed) {
        int64* indices = (int64*)a.indices.data + place.offset(a.indices);
#pragma unroll
        for (int u = 0; u < U; u++) indices[u * a.indices.strides[1]] = best[u].at;
    }
}

template <class Best, int U> __device__ inline void pool_alone(const Pool& a) {
    if constexpr (Best::possible) {
        constexpr int ahead = U == 1 ? TURNS : 2;
        EACH_INDEX(i, a.count / U) {
            const PlanePlace place(i, a.batch, a.outputs, a.last, U);
            const Window window(a, place);
            Best best[U];
#pragma unroll
            for (int u = 0; u < U; u++) best[u].begin(window.beginning(a));
            const int64 plane = place.plane(a.x);
            for (int d = window.first[0]; d < window.stop[0]; d += window.step[0]) {
                for (int h = window.first[1]; h < window.stop[1]; h += window.step[1]) {
                    const int64 row = plane + d * a.x.strides[2] + h * a.x.strides[3];
                    const int stop = window.stop[2], step = window.step[2];
                    for (int begin = window.first[2]; begin < stop; begin += ahead * step) {
                        C value[ahead][U];
#pragma unroll
                        for (int k = 0; k < ahead; k++) {
                            const int w = begin + k * step;
                            if (w < stop) load_pack<U>(a.x, row + w * a.x.strides[4], value[k]);
                        }
#pragma unroll
                        for (int k = 0; k < ahead; k++) {
                            const int w = begin + k * step;
#pragma unroll
                            for (int u = 0; u < U; u++)
                                if (w < stop) best[u].take(value[k][u], flat(a.sizes, d, h, w));
                        }
                    }
                }
            }
            finish<Best, U>(a, place, window, best);
        }
    }
}

template <class Best> __device__ inline void pool_together(const Pool& a, double* memory) {
    // `lanes` threads take turns along one window; neighbouring threads read what lies side by side
    if constexpr (Best::possible) {
        Best* bests = (Best*)memory;
        const int me = (int)threadIdx.x, lanes = a.lanes, across = (int)blockDim.x / lanes;
        const int lane = a.last ? me / across : me % lanes, next = a.last ? across : 1;
        for (int64 start = (int64)blockIdx.x * across; start < a.count; start += (int64)gridDim.x * across) {
            const int64 i = start + (a.last ? me % across : me / lanes);
            const PlanePlace place(i < a.count ? i : start, a.batch, a.outputs, a.last);
            const Window window(a, place);
            const int rows = window.count(1), columns = window.count(2);
            const int64 count = (int64)window.count(0) * rows * columns, plane = place.plane(a.x);
            Best best;
            best.begin(window.beginning(a));
            for (int64 begin = lane; begin < count; begin += TURNS * lanes) {
                C value[TURNS];
                int64 at[TURNS];
#pragma unroll
                for (int k = 0; k < TURNS; k++) {
                    if (begin + k * lanes < count) {
                        int64 rest = begin + k * lanes;
                        const int w = window.first[2] + (int)split(rest, columns) * window.step[2];
                        const int h = window.first[1] + (int)split(rest, rows) * window.step[1];
                        const int d = window.first[0] + (int)rest * window.step[0];
                        at[k] = flat(a.sizes, d, h, w);
                        value[k] = loaded(a.x, plane + within(a.x, d, h, w));
                    }
                }
#pragma unroll
                for (int k = 0; k < TURNS; k++)
                    if (begin + k * lanes < count) best.take(value[k], at[k]);
            }
            bests[me] = best;
            for (int half = lanes / 2; half > 0; half /= 2) {
                __syncthreads();
                if (lane < half) bests[me].merge(bests[me + half * next]);
            }
            if (lane == 0 && i < a.count) finish<Best, 1>(a, place, window, bests + me);
            __syncthreads();
        }
    }
}

NETSPEC_KERNEL(max_pool, Pool) { pool_alone<Largest<C>, 1>(a); }
NETSPEC_KERNEL(max_pool_packed, Pool) { pool_alone<Largest<C>, PACK>(a); }
NETSPEC_BLOCK_KERNEL(max_pool_wide, Pool) {
    NETSPEC_SHARED(memory);
    pool_together<Largest<C>>(a, memory);
}

NETSPEC_KERNEL(max_pool_indices, Pool) { pool_alone<LargestPlace<C>, 1>(a); }
NETSPEC_KERNEL(max_pool_indices_packed, Pool) { pool_alone<LargestPlace<C>, PACK>(a); }
NETSPEC_BLOCK_KERNEL(max_pool_indices_wide, Pool) {
    NETSPEC_SHARED(memory);
    pool_together<LargestPlace<C>>(a, memory);
}

NETSPEC_KERNEL(average_pool, Pool) { pool_alone<Sum, 1>(a); }
NETSPEC_KERNEL(average_pool_packed, Pool) { pool_alone<Sum, PACK>(a); }
NETSPEC_BLOCK_KERNEL(average_pool_wide, Pool) {
    NETSPEC_SHARED(memory);
    pool_together<Sum>(a, memory);
}

// --- back to the indices -----------------------------------------------------------------------------------

__device__ inline int* owner(const Unpool& a, const PlanePlace& place, int64 at) {  // laid as the output is
    const int64 n = place.n, c = place.c, channels = a.batch[1];
    const int64 last = (n * a.plane + at) * channels + c, first = (n * channels + c) * a.plane + at;
    return (int*)a.owners + (a.out_last ? last : first);
}

NETSPEC_KERNEL(unpool_clear, Unpool) {
    EACH_INDEX(i, a.count) ((int*)a.owners)[i] = -1;
}

NETSPEC_KERNEL(unpool_owners, Unpool) {  // each x: of those at one index the last in its plane stays
    EACH_INDEX(i, a.count) {
        const PlanePlace place(i, a.batch, a.sizes, a.last);
        const int64 at = elements<int64>(a.indices)[place.offset(a.indices)];
        if (at < 0 || at >= a.plane) report(a.flags, at);
        else atomicMax(owner(a, place, at), (int)flat(a.sizes, place.at[0], place.at[1], place.at[2]));
    }
}

NETSPEC_KERNEL(unpool_gather, Unpool) {  // each output; owners are left cleared for the next run
    EACH_TURN(first, a.count, TURNS) {
        int number[TURNS];
        int64 to[TURNS], from[TURNS];
#pragma unroll
        for (int k = 0; k < TURNS; k++) {
            number[k] = -1;
            if (first + k * step < a.count) {
                const PlanePlace place(first + k * step, a.batch, a.outputs, a.out_last);
                int* last = owner(a, place, flat(a.outputs, place.at[0], place.at[1], place.at[2]));
                number[k] = *last, to[k] = place.offset(a.out), from[k] = place.plane(a.x);
                *last = -1;
            }
        }
#pragma unroll
        for (int k = 0; k < TURNS; k++) {
            T value = {};
            if (number[k] >= 0) {
                int64 d = number[k];
                const int64 w = split(d, a.sizes[2]), h = split(d, a.sizes[1]);
                value = elements<T>(a.x)[from[k] + within(a.x, d, h, w)];
            }
            if (first + k * step < a.count) ((T*)a.out.data)[to[k]] = value;
        }
    }
}
