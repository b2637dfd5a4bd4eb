"""Detectors behind one small interface; the sidecar with alibi-detect is what implements it today."""
