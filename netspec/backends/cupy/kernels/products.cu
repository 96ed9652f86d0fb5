// Sums of products of several arrays, in any order of their letters: what is no matrix product, or a small
// one, and all of whole numbers. `lanes` threads share an element of the result.

#include "lanes.cuh"

constexpr int MOST_TERMS = sizeof(Products::terms) / sizeof(Array);

struct Places {  // where each term is read, and the result is written
    int64 term[MOST_TERMS], out;
    // The numbers of the letters first to last, in row-major order those of `index`, are added to the places.
    __device__ inline void add(const Products& a, int64 index, int first, int last) {
        for (int letter = last - 1; letter >= first; letter--) {
            const int64 at = letter == first ? index : split(index, a.sizes[letter]);
#pragma unroll
            for (int t = 0; t < MOST_TERMS; t++)
                if (t < a.term_count) term[t] += at * a.term_strides[t * LABELS + letter];
            out += at * a.out_strides[letter];
        }
    }
};

__device__ inline S product_at(const Products& a, const Places& places) {
    S result = convert<S>(loaded(a.terms[0], places.term[0]));
#pragma unroll
    for (int t = 1; t < MOST_TERMS; t++)
        if (t < a.term_count) result = times(result, convert<S>(loaded(a.terms[t], places.term[t])));
    return result;
}

NETSPEC_BLOCK_KERNEL(products, Products) {
    const Seat seat(a.lanes, a.across);
    const int64 stride = (int64)gridDim.x * seat.rows;
    for (int64 first = (int64)blockIdx.x * seat.rows; first < a.count; first += stride) {
        const bool here = first + seat.row < a.count;  // others only keep their lanes company
        Places start = {};
        if (here) start.add(a, first + seat.row, 0, a.kept_rank);
        S sum = Sum<S>::none();
#pragma unroll 4
        for (int64 i = seat.lane; i < (here ? a.terms_each : 0); i += a.lanes) {
            Places places = start;
            places.add(a, i, a.kept_rank, a.letters);
            sum = plus(sum, product_at(a, places));
        }
        sum = together<Sum<S>>(a.lanes, a.across, sum);
        if (here && seat.lane == 0) store(a.out, start.out, convert<C>(sum));
    }
}
