"""A high-performance gRPC inference router: ONNX models behind the Open Inference Protocol."""

__version__ = "0.1.0"
