"""The Open Inference Protocol over gRPC: the same engine as REST's, in the same process and event loop.

``inference.proto`` is written after the protocol's public specification, whose field numbers it keeps;
``inference_pb2.py`` is made from it by ``scripts/protos.py``.
"""
