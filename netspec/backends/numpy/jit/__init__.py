"""Compiled forms (extra `jit`) of what NumPy can only do in several passes over memory.

Kernels are generated as text for a shape of work (`chains`, `depthwise`, `winograd`, `pooling`), compiled by
Numba with explicit vectors (`vectors`) and kept on disk (`compiler`). They take addresses and strides, run on
one thread, and let go of the interpreter; threads share work as they do for NumPy's passes. Only float32 with
channels side by side is compiled; everything else stays with NumPy.
"""
