"""Perennial's control plane and command line."""
