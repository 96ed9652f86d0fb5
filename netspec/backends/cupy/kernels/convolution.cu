// Convolutions without a library: one thread an output for few products (depthwise) and for every type, and the
// windows as columns for a matrix product. What follows the convolution is done before a value is stored.

#include "chain.cuh"

struct Output {  // which output a thread computes
    StridedPlaces places;
    int n, c, space[SPACE];
    __device__ inline Output(int64 index, const Convolution& a) : places(index, a.chain.sizes, 2 + SPACE) {
        const int64* at = places.place.at;
        n = (int)at[0];
        c = (int)(a.last ? at[4] : at[1]);
#pragma unroll
        for (int axis = 0; axis < SPACE; axis++) space[axis] = (int)(a.last ? at[1 + axis] : at[2 + axis]);
    }
    __device__ inline void finish(const Convolution& a, C sum) const {
        C value[1] = {sum};
        run_chain(a.chain, places, value);
        store(a.chain.out, places.place.offset(a.chain.out.strides), value[0]);
    }
};

NETSPEC_KERNEL(convolution, Convolution) {
    EACH_INDEX(i, a.chain.count) {
        Output out(i, a);
        const int first = out.c / a.group_outputs * a.channels;
        const int64 image = out.n * a.x.strides[0] + first * a.x.strides[1];
        const int64 filter = out.c * a.weight.strides[0];
        C sum = {};
        for (int kd = 0; kd < a.kernel[0]; kd++) {
            const int d = out.space[0] * a.stride[0] - a.padding[0] + kd * a.dilation[0];
            if (d < 0 || d >= a.sizes[0]) continue;
            for (int kh = 0; kh < a.kernel[1]; kh++) {
                const int h = out.space[1] * a.stride[1] - a.padding[1] + kh * a.dilation[1];
                if (h < 0 || h >= a.sizes[1]) continue;
                for (int kw = 0; kw < a.kernel[2]; kw++) {
                    const int w = out.space[2] * a.stride[2] - a.padding[2] + kw * a.dilation[2];
                    if (w < 0 || w >= a.sizes[2]) continue;
                    int64 x = image + d * a.x.strides[2] + h * a.x.strides[3] + w * a.x.strides[4];
                    int64 k = filter + kd * a.weight.strides[2] + kh * a.weight.strides[3] + kw * a.weight.strides[4];
                    for (int c = 0; c < a.channels; c++, x += a.x.strides[1], k += a.weight.strides[1])
                        sum = sum + loaded(a.x, x) * loaded(a.weight, k);
                }
            }
        }
        out.finish(a, sum);
    }
}

__device__ inline int reaching(const Convolution& a, int axis, int place, int tap) {
    // the input place from which a tap of a transposed convolution reaches an output place, or -1
    const int shifted = place + a.padding[axis] - tap * a.dilation[axis];
    if (shifted < 0 || shifted % a.stride[axis]) return -1;
    const int source = shifted / a.stride[axis];
    return source < a.sizes[axis] ? source : -1;
}

NETSPEC_KERNEL(transposed_convolution, Convolution) {
    EACH_INDEX(i, a.chain.count) {
        Output out(i, a);
        const int group = out.c / a.group_outputs, first = group * a.channels;
        const int64 image = out.n * a.x.strides[0] + first * a.x.strides[1];
        const int64 filter = first * a.weight.strides[0] + (out.c - group * a.group_outputs) * a.weight.strides[1];
        C sum = {};
        for (int kd = 0; kd < a.kernel[0]; kd++) {
            const int d = reaching(a, 0, out.space[0], kd);
            if (d < 0) continue;
            for (int kh = 0; kh < a.kernel[1]; kh++) {
                const int h = reaching(a, 1, out.space[1], kh);
                if (h < 0) continue;
                for (int kw = 0; kw < a.kernel[2]; kw++) {
                    const int w = reaching(a, 2, out.space[2], kw);
                    if (w < 0) continue;
                    int64 x = image + d * a.x.strides[2] + h * a.x.strides[3] + w * a.x.strides[4];
                    int64 k = filter + kd * a.weight.strides[2] + kh * a.weight.strides[3] + kw * a.weight.strides[4];
                    for (int c = 0; c < a.channels; c++, x += a.x.strides[1], k += a.weight.strides[0])
                        sum = sum + loaded(a.x, x) * loaded(a.weight, k);
                }
            }
        }
        out.finish(a, sum);
    }
}

NETSPEC_KERNEL(gather_columns, Convolution) {  // the second half of a transposed convolution by a matrix product
    EACH_INDEX(i, a.chain.count) {
        Output out(i, a);
        const int group = out.c / a.group_outputs;
        const int64 from = out.n * a.x.strides[0] + group * a.x.strides[1] +
                           (out.c - group * a.group_outputs) * a.x.strides[2];
        C sum = {};
        for (int kd = 0, tap = 0; kd < a.kernel[0]; kd++) {
            const int d = reaching(a, 0, out.space[0], kd);
            for (int kh = 0; kh < a.kernel[1]; kh++) {
                const int h = reaching(a, 1, out.space[1], kh);
                for (int kw = 0; kw < a.kernel[2]; kw++, tap++) {
                    const int w = reaching(a, 2, out.space[2], kw);
                    if (d < 0 || h < 0 || w < 0) continue;
                    const int64 place = ((int64)d * a.sizes[1] + h) * a.sizes[2] + w;
                    sum = sum + loaded(a.x, from + tap * a.x.strides[3] + place * a.x.strides[4]);
                }
            }
        }
        out.finish(a, sum);
    }
}

NETSPEC_KERNEL(columns, Columns) {
    EACH_INDEX(i, a.count) {
        int64 rest = i;
        int n, group, channel, space[SPACE], tap[SPACE];
        if (a.last) channel = (int)split(rest, a.channels);
        else
            for (int axis = SPACE - 1; axis >= 0; axis--) space[axis] = (int)split(rest, a.outputs[axis]);
        for (int axis = SPACE - 1; axis >= 0; axis--) tap[axis] = (int)split(rest, a.kernel[axis]);
        if (a.last) {
            for (int axis = SPACE - 1; axis >= 0; axis--) space[axis] = (int)split(rest, a.outputs[axis]);
            n = (int)split(rest, a.images);
            group = (int)rest;
        } else {
            channel = (int)split(rest, a.channels);
            group = (int)split(rest, a.groups);
            n = (int)rest;
        }
        int64 x = n * a.x.strides[0] + ((int64)group * a.channels + channel) * a.x.strides[1];
        bool inside = true;
        for (int axis = 0; axis < SPACE; axis++) {
            const int place = space[axis] * a.stride[axis] - a.padding[axis] + tap[axis] * a.dilation[axis];
            inside = inside && place >= 0 && place < a.sizes[axis];
            x += place * a.x.strides[2 + axis];
        }
        ((T*)a.columns)[i] = inside ? elements<T>(a.x)[x] : T{};
    }
}
