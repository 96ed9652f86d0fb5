"""The CUDA backend: every operation on arrays of a device, through CuPy, cuDNN, cuBLAS and kernels of its own.

operation + arrays -> launches (chains, convolution, windows, moves, rows, products), bound once for their addresses;
a session starts them, one by one or as a graph, on the stream of its device. Nothing here is imported until a
network asks for a device; the README's page of it is docs/cuda.md.
"""
