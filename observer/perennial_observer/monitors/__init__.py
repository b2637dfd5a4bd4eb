"""What the monitors decide: windows, thresholds, alarms. Only ``evaluation.py`` reads or writes anything."""
