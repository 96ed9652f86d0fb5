"""Passes between lowering and planning: each takes a program and returns one with the same outputs."""

from __future__ import annotations

from netspec.program.compile import Program
from netspec.program.constants import move_constants
from netspec.program.folding import fold_affine
from netspec.program.fusion import fuse_stages
from netspec.program.liveness import drop_unused


def optimize(program: Program) -> Program:
    """Constant work moved to the set-up, affine maps folded into weights, elementwise stages fused."""
    program = move_constants(program)
    program = fold_affine(program)
    program = fuse_stages(program)
    return drop_unused(program)
