// Threads that share a row (`lanes`, a power of two): who they are, and how what each has found becomes one.
// Neighbouring threads are neighbouring lanes of a row or, `across`, the same lane of neighbouring rows.

template <class V> struct Wide {  // what values are added up in: integers and bool wrap when they are stored
    typedef int64 type;
};
template <> struct Wide<float> {
    typedef float type;
};
template <> struct Wide<double> {
    typedef double type;
};
template <class R> struct Wide<Complex<R>> {
    typedef Complex<R> type;
};
typedef Wide<C>::type S;

struct Seat {
    int lane, row, rows;  // rows of a block: `row` is the thread's
    __device__ inline Seat(int lanes, int across) : rows(blockDim.x / lanes) {
        const int thread = threadIdx.x;
        lane = across ? thread / rows : thread % lanes;
        row = across ? thread % rows : thread / lanes;
    }
};

// Each row's values, combined in a tree whose shape depends on the number of lanes alone, for all lanes.
template <class Join>
__device__ inline typename Join::Value together(int lanes, int across, typename Join::Value mine) {
    typedef typename Join::Value Value;
    if (lanes == 1) return mine;
    NETSPEC_SHARED(memory);
    Value* shared = (Value*)memory;
    const Seat seat(lanes, across);
    const int thread = threadIdx.x, pitch = across ? seat.rows : 1;
    __syncthreads();  // others may still read what was combined before
    shared[thread] = mine;
    for (int half = lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (seat.lane < half) shared[thread] = Join::join(shared[thread], shared[thread + half * pitch]);
    }
    __syncthreads();
    return shared[thread - seat.lane * pitch];
}

// --- ways to join two values, and what changes nothing -----------------------------------------------------

template <class V> __device__ inline V plus(V x, V y) {
    return x + y;
}
__device__ inline int64 plus(int64 x, int64 y) {
    return (int64)((unsigned long long)x + (unsigned long long)y);
}
template <class V> __device__ inline V times(V x, V y) {
    if constexpr (is_complex) {  // 1 changes nothing, infinities neither
        const V one = convert<V>(1.0f);
        if (x == one) return y;
        if (y == one) return x;
    }
    return x * y;
}
__device__ inline int64 times(int64 x, int64 y) {
    return (int64)((unsigned long long)x * (unsigned long long)y);
}

template <class V> struct Sum {
    typedef V Value;
    static __device__ inline V none() { return convert<V>(0.0f); }
    static __device__ inline V join(V x, V y) { return plus(x, y); }
};
template <class V> struct Product {
    typedef V Value;
    static __device__ inline V none() { return convert<V>(1.0f); }
    static __device__ inline V join(V x, V y) { return times(x, y); }
};
