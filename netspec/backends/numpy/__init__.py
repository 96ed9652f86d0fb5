"""The NumPy backend: every operation on arrays in main memory, with nothing but NumPy."""

from netspec.backends.numpy.backend import NumpyBackend

__all__ = ["NumpyBackend"]
