// CUDA for the host: the kernels as loops over blocks and threads, so that the very source that a GPU compiles can
// be run, and watched, on a machine that has none.
//
// Threads of a kernel without barriers run one after the other, last first where NETSPEC_BACKWARDS is set, so that
// a result that depends on their order shows. Threads that meet at barriers are fibers. Shared memory begins as
// NaN; a barrier that some threads of a block never reach ends the process with a message.

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

using std::acosh;

struct dim3 {
    unsigned x, y, z;
};
static thread_local dim3 blockIdx, threadIdx, blockDim, gridDim;

#define __device__
#define __global__
#define __grid_constant__

static inline long long atomicMin(long long* at, long long value) {
    long long before = *at;
    if (value < before) *at = value;
    return before;
}
static inline long long atomicMax(long long* at, long long value) {
    long long before = *at;
    if (value > before) *at = value;
    return before;
}
static inline int atomicMax(int* at, int value) {
    int before = *at;
    if (value > before) *at = value;
    return before;
}

// --- fibers ----------------------------------------------------------------------------------------------------

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
};
static thread_local std::vector<Fiber> fibers;
static thread_local ucontext_t scheduler;
static thread_local unsigned running;
static thread_local std::vector<double> shared_memory;
static thread_local void (*body)(const void*);
static thread_local const void* body_arguments;

static void enter() {
    body(body_arguments);
    fibers[running].done = true;
    swapcontext(&fibers[running].context, &scheduler);
}

static inline void __syncthreads() { swapcontext(&fibers[running].context, &scheduler); }

static unsigned ordered(unsigned i, unsigned count) {
    static const bool backwards = getenv("NETSPEC_BACKWARDS") != nullptr;
    return backwards ? count - 1 - i : i;
}

static void run_block(unsigned threads) {
    if (fibers.size() < threads) fibers.resize(threads);
    for (unsigned t = 0; t < threads; t++) {
        Fiber& fiber = fibers[t];
        fiber.stack.resize(1 << 16);
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, enter, 0);
    }
    for (unsigned left = threads; left;) {
        unsigned met = 0;
        for (unsigned i = 0; i < threads; i++) {
            running = ordered(i, threads);
            if (fibers[running].done) continue;
            threadIdx = {running, 0, 0};
            swapcontext(&scheduler, &fibers[running].context);
            if (fibers[running].done) left--;
            else met++;
        }
        if (met && met != threads) {
            fprintf(stderr, "%u of %u threads of a block wait at a barrier that the others passed by\n", met, threads);
            abort();
        }
    }
}

// --- kernels ---------------------------------------------------------------------------------------------------

#define NETSPEC_KERNEL(name, Arguments)                                                               \
    static void name##_thread(const Arguments& a);                                                    \
    extern "C" const int name##_size = sizeof(Arguments);                                             \
    extern "C" void name(const void* arguments, unsigned blocks, unsigned threads, unsigned shared) { \
        gridDim = {blocks, 1, 1}, blockDim = {threads, 1, 1};                                         \
        for (unsigned b = 0; b < blocks; b++)                                                         \
            for (unsigned t = 0; t < threads; t++) {                                                  \
                blockIdx = {ordered(b, blocks), 0, 0}, threadIdx = {ordered(t, threads), 0, 0};       \
                name##_thread(*(const Arguments*)arguments);                                          \
            }                                                                                         \
    }                                                                                                 \
    static void name##_thread(const Arguments& a)

#define NETSPEC_BLOCK_KERNEL(name, Arguments)                                                         \
    static void name##_thread(const Arguments& a);                                                    \
    static void name##_body(const void* a) { name##_thread(*(const Arguments*)a); }                   \
    extern "C" const int name##_size = sizeof(Arguments);                                             \
    extern "C" void name(const void* arguments, unsigned blocks, unsigned threads, unsigned shared) { \
        gridDim = {blocks, 1, 1}, blockDim = {threads, 1, 1};                                         \
        for (unsigned b = 0; b < blocks; b++) {                                                       \
            blockIdx = {ordered(b, blocks), 0, 0};                                                    \
            shared_memory.assign((shared + 7) / 8, std::nan(""));                                     \
            body = name##_body, body_arguments = arguments;                                           \
            run_block(threads);                                                                       \
        }                                                                                             \
    }                                                                                                 \
    static void name##_thread(const Arguments& a)

#define NETSPEC_SHARED(memory) double* memory = shared_memory.data()
