"""Graph, weights and concrete shapes become a program: operations on buffers made once, run many times.

compile(shaped, wanted) -> Program      layers lower to operations on numbered values
plan(program)           -> Plan         which value lives in which buffer
Executor(program, ...)                  buffers allocated, kernels bound; run() many times
"""

from netspec.program.builder import Builder, Step, Value

__all__ = ["Builder", "Step", "Value"]
