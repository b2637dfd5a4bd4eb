"""Prediction log, bundle store, detectors and feedback."""
