"""Passes between lowering and planning: each takes a program and returns one with the same outputs."""

from __future__ import annotations

from netspec.program.compile import Program
from netspec.program.constants import move_constants
from netspec.program.folding import fold_affine
from netspec.program.fusion import FUSED_TYPES, fuse_stages
from netspec.program.liveness import drop_unused


def optimize(program: Program, types: tuple[str, ...] = FUSED_TYPES) -> Program:
    """Constant work moved to the set-up, affine maps folded into weights, elementwise stages fused.

    types: dtypes of which the backend computes several operations without rounding in between.
    """
    program = move_constants(program)
    program = fold_affine(program, types)
    program = fuse_stages(program, types)
    return drop_unused(program)
