"""Which operations have compiled kernels, and on which arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.backends.base import Array, Context, Kernel
from netspec.backends.numpy.arrays import Block, block_limit, blocks, sequence, spread
from netspec.backends.numpy.jit import depthwise
from netspec.backends.numpy.jit.finish import Finishing
from netspec.backends.numpy.registry import FINISHES, KERNELS
from netspec.backends.strides import memory_order
from netspec.operations import Affine, Convolution, Elementwise, Fused, Operation, Stage


def bind(
    operation: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel | None:
    """The kernel of `operation` with compiled parts; None where it is NumPy's alone."""
    main: Operation = operation
    stages: tuple[Stage, ...] = ()
    arity = len(inputs)
    if isinstance(operation, Fused):
        main, stages, arity = operation.main, operation.stages, operation.arity
    if len(outputs) != 1 or outputs[0].dtype != np.float32 or outputs[0].size == 0 or outputs[0].ndim == 0:
        return None
    out = outputs[0]
    if isinstance(main, (Elementwise, Affine)):
        first = Stage(main, tuple(range(arity)))
        return _elementwise(Finishing((first, *stages), inputs, out, context), out, context)
    if isinstance(main, Convolution):
        x, weight, *bias = inputs[:arity]
        finish = Finishing(stages, inputs, out, context, *bias)
        if depthwise.applies(main, x, weight, out):
            chain, rest = finish.parts(1)
            return sequence(depthwise.depthwise(main, x, weight, out, context, chain, rest))
        return KERNELS[Convolution](main, [x, weight], outputs, context, finish)  # type: ignore[call-arg]
    if stages and type(main) in FINISHES:
        finish = Finishing(stages, inputs, out, context)
        return KERNELS[type(main)](main, inputs[:arity], outputs, context, finish)  # type: ignore[call-arg]
    return None


def _elementwise(finish: Finishing, out: Array, context: Context) -> Kernel | None:
    """All stages on blocks of the output; one block a lane where one pass does everything."""
    if finish.chain is None:
        return None
    wide, limit = block_limit(context, out.size)
    order = memory_order(out)
    shape = [out.shape[axis] for axis in order]
    if finish.done:
        limit = out.size if not wide else -(-out.size // context.lanes)

    def make(block: Block) -> list[Kernel]:
        whole = (*block, *(slice(None) for _ in range(out.ndim - len(block))))
        return finish(tuple(whole[order.index(axis)] for axis in range(out.ndim)))

    return sequence(spread(context, blocks(shape, limit), make, out.size if wide else 0))
