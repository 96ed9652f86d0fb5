// Arrays (n, c, space) as pooling and resampling read and write them: threads run along the output's memory
// order, which is (n, c, space) or, with `last`, (n, space, c).

// Elements side by side that a thread moves at once; planes.py counts them alike.
constexpr int PACK = sizeof(T) >= 16 ? 1 : sizeof(T) <= 2 ? 8 : 16 / (int)sizeof(T);

template <int U> struct alignas(U * sizeof(T)) Pack {
    T at[U];
};

template <int U> __device__ inline void take_pack(const Array& array, int64 at, T* out) {
    if constexpr (U == 1) {
        out[0] = elements<T>(array)[at];
    } else {
        const Pack<U> pack = *(const Pack<U>*)(elements<T>(array) + at);
#pragma unroll
        for (int u = 0; u < U; u++) out[u] = pack.at[u];
    }
}
template <int U> __device__ inline void put_pack(const Array& array, int64 at, const T* values) {
    if constexpr (U == 1) {
        ((T*)array.data)[at] = values[0];
    } else {
        Pack<U> pack;
#pragma unroll
        for (int u = 0; u < U; u++) pack.at[u] = values[u];
        *(Pack<U>*)((T*)array.data + at) = pack;
    }
}

template <int U> __device__ inline void load_pack(const Array& array, int64 at, C* out) {
    T values[U];
    take_pack<U>(array, at, values);
#pragma unroll
    for (int u = 0; u < U; u++) out[u] = convert<C>(values[u]);
}
template <int U> __device__ inline void store_pack(const Array& array, int64 at, const C* values) {
    T stored[U];
#pragma unroll
    for (int u = 0; u < U; u++) stored[u] = convert<T>(values[u]);
    put_pack<U>(array, at, stored);
}

// A thread takes several places in turn, so that it has several loads on their way: `first`, then `step`
// further and so on, `turns` of them.
#define EACH_TURN(first, count, turns)                                                                     \
    for (int64 first = (int64)blockIdx.x * blockDim.x + threadIdx.x, step = (int64)gridDim.x * blockDim.x; \
         first < (count); first += (turns) * step)
constexpr int TURNS = 4;

__device__ inline int64 within(const Array& array, int64 d, int64 h, int64 w) {  // a plane
    return d * array.strides[2] + h * array.strides[3] + w * array.strides[4];
}

struct PlanePlace {  // which output a thread computes, or the first of a pack of channels
    int n, c, at[SPACE];
    __device__ inline PlanePlace(int64 index, const int* batch, const int* space, bool last, int pack = 1) {
        if (last) c = (int)split(index, batch[1] / pack) * pack;
#pragma unroll
        for (int axis = SPACE - 1; axis >= 0; axis--)
            at[axis] = space[axis] > 1 ? (int)split(index, space[axis]) : 0;
        if (!last) c = (int)split(index, batch[1]);
        n = (int)index;
    }
    __device__ inline int64 plane(const Array& array) const {  // where its plane begins
        return n * array.strides[0] + c * array.strides[1];
    }
    __device__ inline int64 offset(const Array& array) const {
        return plane(array) + within(array, at[0], at[1], at[2]);
    }
};

__device__ inline int64 flat(const int* sizes, int d, int h, int w) {
    return ((int64)d * sizes[1] + h) * sizes[2] + w;
}
