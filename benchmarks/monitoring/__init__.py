"""Monitors beside those of other projects: false alarms, power and delay on streams whose truth is known."""
