"""Fault tooling: a proxy before the API server, the operator as a process that can be killed, and oracles."""
