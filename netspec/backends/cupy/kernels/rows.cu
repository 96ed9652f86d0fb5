// Reductions, and what is built on them. A row is what is reduced to one value; its elements lie along the
// reduced axes, and the kept axes say where it begins.
//
// `lanes` threads share a row. A row that is long where there are few is cut into `parts`, each with a
// partial result in memory; a second launch joins these. `stage` is 0 where one launch does it all, else 1
// and then 2.
//
// Where rows are single runs of aligned memory, kernels named `wide` read and write 16 bytes at a time.

#include "functions.cuh"
#include "lanes.cuh"

constexpr int BATCH = sizeof(C) > 8 ? 4 : 8;  // elements that a thread reads at a time; it keeps one batch
constexpr int WIDTH = 16 / sizeof(T) < BATCH ? 16 / sizeof(T) : BATCH;  // elements of one wide access
constexpr int CHAIN = 32;  // so many batches are added one after the other; long sums are sums of such sums

template <class V> struct Largest {
    typedef V Value;
    static __device__ inline V none() { return Lowest<V>::value(); }
    static __device__ inline V join(V x, V y) { return maximum(x, y); }
};
template <class V> struct Smallest {
    typedef V Value;
    static __device__ inline V none() {
        if constexpr (Same<V, int64>::value) return ~Lowest<V>::value();
        else return -Lowest<V>::value();
    }
    static __device__ inline V join(V x, V y) { return minimum(x, y); }
};

template <class V> struct Found {
    V value;
    int64 at;
};
template <class V> struct First {  // the first of the largest values; NaN is larger than all
    typedef Found<V> Value;
    static __device__ inline Value none() { return {Lowest<V>::value(), ~Lowest<int64>::value()}; }
    static __device__ inline Value join(Value x, Value y) {
        if (x.value > y.value || (is_nan(x.value) && !is_nan(y.value))) return x;
        if (y.value > x.value || (is_nan(y.value) && !is_nan(x.value))) return y;
        return x.at < y.at ? x : y;
    }
};

template <class V> struct Powers {  // of e: the sum of exp(x - most)
    V most, sum;
};
template <class V> struct Softened {
    typedef Powers<V> Value;
    static __device__ inline Value none() { return {Lowest<V>::value(), V(0)}; }
    static __device__ inline V scaled(Value x, V most) {
        return x.sum == 0 ? V(0) : x.sum * exp_(x.most - most);  // without elements, most is -inf
    }
    static __device__ inline Value join(Value x, Value y) {
        const V most = maximum(x.most, y.most);
        return {most, scaled(x, most) + scaled(y, most)};
    }
};

template <class V> struct Spread {  // of `count` elements
    V count, sum, squares;          // squares: of the distances from the mean
};
template <class V> struct Spreads {
    typedef Spread<V> Value;
    static __device__ inline Value none() { return {V(0), V(0), V(0)}; }
    static __device__ inline Value join(Value x, Value y) {
        if (x.count == 0) return y;
        if (y.count == 0) return x;
        const V count = x.count + y.count, apart = y.sum / y.count - x.sum / x.count;
        return {count, x.sum + y.sum, x.squares + y.squares + apart * apart * (x.count * y.count / count)};
    }
};

// --- which elements are a thread's -------------------------------------------------------------------------

struct Own {
    int64 row, part, first, from, to;  // the part's first element, the thread's first, the end of the part
    int64 x, out, second;              // where the row begins
    bool stores;                       // whether the thread is the one that writes the row's result
    __device__ inline Own(const Rows& a, int64 turn) {
        const Seat seat(a.lanes, a.across);
        part = split(turn, a.slices);
        row = turn * seat.rows + seat.row;
        first = part * a.part, from = first + seat.lane * a.width;
        to = first + a.part < a.length ? first + a.part : a.length;
        stores = seat.lane == 0 && row < a.rows;
        if (row >= a.rows) row = 0, first = from = to = 0;  // a block's last rows may not exist
        const Place place(row, a.kept, a.kept_rank);
        x = place.offset(a.x.strides), out = place.offset(a.out.strides);
        second = place.offset(a.second.strides);
    }
};

#define EACH_TURN(turn) for (int64 turn = blockIdx.x; turn < a.turns; turn += gridDim.x)

struct Walk {  // where a thread's elements lie in an array: along one reduced axis or two, without a division
    int64 place, step, carry;
    int inner;
    __device__ inline Walk(
        const Rows& a, int64 from, int64 start, const long long* along, int64 step, int64 carry)
        : step(step), carry(carry) {
        inner = (int)split(from, a.inner);  // which leaves the outer coordinate
        place = start + from * along[0] + inner * along[1];
    }
    __device__ inline void next(const Rows& a) {
        place += step;
        inner += a.inner_step;
        if (inner >= a.inner) inner -= a.inner, place += carry;
    }
};

struct alignas(sizeof(T) * WIDTH) Words {  // what one access moves
    unsigned word[sizeof(T) * WIDTH / 4];
};
union Pack {
    Words words;
    T element[WIDTH];
    __device__ inline Pack() : words{} {}
};
__device__ inline void store_words(void* at, const Words& words) {  // four, as real types have
    const unsigned* w = words.word;
#ifdef __CUDA_ARCH__  // said outright: the compiler makes one instruction of each word
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
                 :
                 : "l"(at), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3])
                 : "memory");
#else
    for (int i = 0; i < 4; i++) ((unsigned*)at)[i] = w[i];
#endif
}

template <class V, bool wide> struct Elements {  // of a thread, for several passes: a batch at a time
    const Rows& a;
    const Own& own;
    V x[BATCH];
    __device__ inline Elements(const Rows& a, const Own& own) : a(a), own(own) {
        if (!a.held) return;
        Walk walk = of_x();
        read(walk, own.from);
    }
    __device__ inline Walk of_x() const { return Walk(a, own.from, own.x, a.x_along, a.x_step, a.x_carry); }
    __device__ inline int64 at(int64 start, int u) const {  // the number of an element in its row
        return wide ? start + (u / WIDTH) * WIDTH * (int64)a.lanes + u % WIDTH : start + u * (int64)a.lanes;
    }
    __device__ inline bool has(int64 start, int u) const {  // wide ones are there together or not at all
        return at(start, wide ? u / WIDTH * WIDTH : u) < own.to;
    }
    __device__ inline void read(Walk& walk, int64 start) {
        if constexpr (wide) {
#pragma unroll
            for (int u = 0; u < BATCH; u += WIDTH) {
                Pack pack;
                if (has(start, u)) pack.words = *(const Words*)(elements<T>(a.x) + own.x + at(start, u));
#pragma unroll
                for (int v = 0; v < WIDTH; v++) x[u + v] = convert<V>(pack.element[v]);
            }
        } else {
#pragma unroll
            for (int u = 0; u < BATCH; u++) {
                x[u] = has(start, u) ? loaded(a.x, walk.place) : convert<V>(0.0f);
                walk.next(a);
            }
        }
    }
    // What f(element, its number) gives for all of them, joined.
    template <class Join, class F> __device__ inline typename Join::Value joined(F f) {
        typename Join::Value total = Join::none(), some = total;
        Walk walk = of_x();
        int round = 0;
        for (int64 start = own.from; start < own.to; start += BATCH * (int64)a.lanes) {
            if (!a.held) read(walk, start);
            typename Join::Value each[BATCH];
#pragma unroll
            for (int u = 0; u < BATCH; u++) each[u] = has(start, u) ? f(x[u], at(start, u)) : Join::none();
#pragma unroll
            for (int half = BATCH / 2; half > 0; half /= 2)
#pragma unroll
                for (int u = 0; u < half; u++) each[u] = Join::join(each[u], each[u + half]);
            some = Join::join(some, each[0]);
            if (++round % CHAIN == 0) total = Join::join(total, some), some = Join::none();
        }
        return Join::join(total, some);
    }
    template <class F> __device__ inline void write(F f) {
        Walk walk = of_x(), out(a, own.from, own.out, a.out_along, a.out_step, a.out_carry);
        for (int64 start = own.from; start < own.to; start += BATCH * (int64)a.lanes) {
            if (!a.held) read(walk, start);
            if constexpr (wide) {
#pragma unroll
                for (int u = 0; u < BATCH; u += WIDTH) {
                    Pack pack;
#pragma unroll
                    for (int v = 0; v < WIDTH; v++) pack.element[v] = convert<T>(f(x[u + v]));
                    if (has(start, u)) store_words((T*)a.out.data + own.out + at(start, u), pack.words);
                }
            } else {
#pragma unroll
                for (int u = 0; u < BATCH; u++) {
                    if (has(start, u)) store(a.out, out.place, f(x[u]));
                    out.next(a);
                }
            }
        }
    }
};

// A row's value from what each lane has found, or from the parts that the first stage has left.
template <class Join> __device__ inline typename Join::Value whole(const Rows& a, typename Join::Value mine) {
    return together<Join>(a.lanes, a.across, mine);
}
template <class Join> __device__ inline typename Join::Value from_parts(const Rows& a, const Own& own) {
    const typename Join::Value* parts = (const typename Join::Value*)a.partials + own.row * a.parts;
    typename Join::Value mine = Join::none();
    for (int64 i = Seat(a.lanes, a.across).lane; i < a.parts; i += a.lanes) mine = Join::join(mine, parts[i]);
    return whole<Join>(a, mine);
}
template <class Value> __device__ inline void leave(const Rows& a, const Own& own, Value value) {
    if (own.stores) ((Value*)a.partials)[own.row * a.parts + own.part] = value;
}

// --- one value a row ---------------------------------------------------------------------------------------

// f: what an element counts as; g: what is stored of the joined value, and where.
template <class Join, bool wide, class F, class G> __device__ inline void reduce(const Rows& a, F f, G g) {
    EACH_TURN(turn) {
        const Own own(a, turn);
        typename Join::Value value;
        if (a.stage == 2) value = from_parts<Join>(a, own);
        else value = whole<Join>(a, Elements<C, wide>(a, own).template joined<Join>(f));
        if (a.stage == 1) leave(a, own, value);
        else if (own.stores) g(own, value);
    }
}
template <class Join, bool wide> __device__ inline void reduce_values(const Rows& a) {
    reduce<Join, wide>(
        a, [](C x, int64) { return convert<S>(x); },
        [&](const Own& own, S value) { store(a.out, own.out, convert<C>(value)); });
}

template <class V> __device__ inline V divided(V x, double divisor) {
    if constexpr (is_real) return x / (V)divisor;
    else return x;
}
template <class R> __device__ inline Complex<R> divided(Complex<R> x, double divisor) {
    return {x.re / (R)divisor, x.im / (R)divisor};
}

template <bool wide> __device__ inline void reduce_sums(const Rows& a) {  // and means, with their divisor
    reduce<Sum<S>, wide>(
        a, [](C x, int64) { return convert<S>(x); },
        [&](const Own& own, S value) { store(a.out, own.out, convert<C>(divided(value, a.divisor))); });
}

NETSPEC_BLOCK_KERNEL(rows_sum, Rows) {
    reduce_sums<false>(a);
}
NETSPEC_BLOCK_KERNEL(rows_sum_wide, Rows) {
    reduce_sums<true>(a);
}

NETSPEC_BLOCK_KERNEL(rows_prod, Rows) {
    reduce_values<Product<S>, false>(a);
}

NETSPEC_BLOCK_KERNEL(rows_max, Rows) {
    if constexpr (!is_complex) reduce_values<Largest<S>, false>(a);
}
NETSPEC_BLOCK_KERNEL(rows_max_wide, Rows) {
    if constexpr (!is_complex) reduce_values<Largest<S>, true>(a);
}

NETSPEC_BLOCK_KERNEL(rows_min, Rows) {
    if constexpr (!is_complex) reduce_values<Smallest<S>, false>(a);
}

NETSPEC_BLOCK_KERNEL(rows_argmax, Rows) {
    if constexpr (!is_complex)
        reduce<First<S>, false>(
            a, [](C x, int64 at) { return Found<S>{convert<S>(x), at}; },
            [&](const Own& own, Found<S> found) { ((int64*)a.out.data)[own.out] = found.at; });
}

// --- one value an element ----------------------------------------------------------------------------------

template <class V, bool wide> __device__ inline void softmax(const Rows& a) {
    EACH_TURN(turn) {
        const Own own(a, turn);
        Elements<V, wide> row(a, own);
        Powers<V> all;
        if (a.stage == 2) {
            all = from_parts<Softened<V>>(a, own);
        } else {
            const auto itself = [](V x, int64) { return x; };
            const V most = whole<Largest<V>>(a, row.template joined<Largest<V>>(itself));
            const auto power = [=](V x, int64) { return exp_(x - most); };
            all = {most, whole<Sum<V>>(a, row.template joined<Sum<V>>(power))};
        }
        if (a.stage == 1) {
            if (all.most == Lowest<V>::value()) all.sum = 0;  // other parts may hold more than -inf
            leave(a, own, all);
        } else {
            const V most = all.most, scale = a.log ? log_(all.sum) : 1 / all.sum;
            row.write([&](V x) { return a.log ? x - most - scale : exp_(x - most) * scale; });
        }
    }
}

// In two passes: the mean, then the squared distances from it. Without a centre these are squares themselves.
template <class V, bool wide>
__device__ inline Spread<V> spread(const Rows& a, const Own& own, Elements<V, wide>& row) {
    if (a.stage == 2) return from_parts<Spreads<V>>(a, own);
    const V count = (V)(own.to - own.first);
    V sum = 0, mean = 0;
    if (a.center) {
        sum = whole<Sum<V>>(a, row.template joined<Sum<V>>([](V x, int64) { return x; }));
        mean = sum / count;
    }
    auto square = [=](V x, int64) { return (x - mean) * (x - mean); };
    return {count, sum, whole<Sum<V>>(a, row.template joined<Sum<V>>(square))};
}

template <class V> __device__ inline void store_real(const Array& array, int64 at, V value) {
    if (array.dtype == NETSPEC_DTYPE) store(array, at, value);
    else ((float*)array.data)[at] = (float)value;  // moments of float16 are float32
}

template <class V, bool wide> __device__ inline void moments(const Rows& a) {
    EACH_TURN(turn) {
        const Own own(a, turn);
        Elements<V, wide> row(a, own);
        const Spread<V> all = spread(a, own, row);
        if (a.stage == 1) {
            leave(a, own, all);
        } else if (own.stores) {
            store_real(a.out, own.out, all.sum / all.count);
            store_real(a.second, own.second, all.squares / all.count);
        }
    }
}

template <class V, bool wide> __device__ inline void normalize(const Rows& a) {
    EACH_TURN(turn) {
        const Own own(a, turn);
        Elements<V, wide> row(a, own);
        const Spread<V> all = spread(a, own, row);
        if (a.stage == 1) {
            leave(a, own, all);
        } else {
            const V mean = all.sum / all.count, scale = 1 / sqrt_(all.squares / all.count + (V)a.eps);
            row.write([=](V x) { return (x - mean) * scale; });
        }
    }
}

NETSPEC_BLOCK_KERNEL(rows_softmax, Rows) {
    if constexpr (is_real) softmax<C, false>(a);
}
NETSPEC_BLOCK_KERNEL(rows_softmax_wide, Rows) {
    if constexpr (is_real) softmax<C, true>(a);
}

NETSPEC_BLOCK_KERNEL(rows_moments, Rows) {
    if constexpr (is_real) moments<C, false>(a);
}
NETSPEC_BLOCK_KERNEL(rows_moments_wide, Rows) {
    if constexpr (is_real) moments<C, true>(a);
}

NETSPEC_BLOCK_KERNEL(rows_normalize, Rows) {
    if constexpr (is_real) normalize<C, false>(a);
}
NETSPEC_BLOCK_KERNEL(rows_normalize_wide, Rows) {
    if constexpr (is_real) normalize<C, true>(a);
}
