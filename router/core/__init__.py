"""Pure decisions: no I/O, clock, thread, grpc or onnxruntime. Time comes in as an argument; decisions go out."""
