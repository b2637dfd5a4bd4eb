"""Counts by revision while several answer side by side: what gates, bandits and shadow experiments are judged by."""
