"""Translation: the only place that knows gRPC and HTTP."""
