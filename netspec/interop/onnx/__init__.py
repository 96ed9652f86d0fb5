"""Networks as ONNX: the lowered program, operation by operation, in the form that torch.onnx gives.

    model = to_onnx(program, arrays, "resnet18")       -> onnx.ModelProto (extra `bench`)

Shapes are fixed and stand on every edge. What only depends on the weights is computed beforehand, so that a
batch normalisation is one node whose scale and shift are numbers. An operation that ONNX does not have is
refused with the layer's name. Opset 20.
"""

from netspec.interop.onnx.export import library, to_onnx
from netspec.interop.onnx.writer import NotInOnnx

__all__ = ["NotInOnnx", "library", "to_onnx"]
