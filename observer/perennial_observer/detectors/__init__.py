"""Detectors behind one small interface: alibi-detect's in the sidecar, and our own in ``native``."""
