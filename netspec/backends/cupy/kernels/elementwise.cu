// Chains of elementwise functions, and everything that is a copy: casts, concatenations, transposed reads.

#include "chain.cuh"

NETSPEC_KERNEL(chain_flat, Chain) {  // every array is one run (or one number): axis 0 is all there is
    constexpr int U = is_complex ? 1 : 4;
    const int64 step = (int64)gridDim.x * blockDim.x;
    for (int64 first = (int64)blockIdx.x * blockDim.x + threadIdx.x; first < a.count; first += step * U) {
        C value[U];
        FlatPlaces<U> places;
#pragma unroll
        for (int u = 0; u < U; u++)  // what lies beyond the end repeats the first
            places.at[u] = first + u * step < a.count ? first + u * step : first;
        run_chain(a, places, value);
#pragma unroll
        for (int u = 0; u < U; u++)
            if (u == 0 || first + u * step < a.count) store(a.out, places.at[u] * a.out.strides[0], value[u]);
    }
}

NETSPEC_KERNEL(chain_strided, Chain) {
    EACH_INDEX(i, a.count) {
        StridedPlaces places(i, a.sizes, a.rank);
        C value[1];
        run_chain(a, places, value);
        store(a.out, places.place.offset(a.out.strides), value[0]);
    }
}
