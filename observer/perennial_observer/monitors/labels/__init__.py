"""Monitors that need labels: performance, concept, fairness."""
