"""What the monitors decide: windows, thresholds, alarms. Only ``evaluation.py`` and ``records.py`` read or write anything."""
