"""Drift of inputs and of predictions: the statistic, its calibrated threshold and the verdict."""
