"""The Open Inference Protocol as bytes: requests in, rows out; arrays in, answers out. Pure."""
