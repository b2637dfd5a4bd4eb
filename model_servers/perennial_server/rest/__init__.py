"""The Open Inference Protocol over HTTP: an ASGI application without a framework in its hot path."""
