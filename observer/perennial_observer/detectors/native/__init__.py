"""Detectors of our own, on NumPy, SciPy and scikit-learn: what alibi-detect needs torch for, and what it can't do."""
