"""What the monitors decide. ``looks`` reads, asks the others and writes; the others hardly ever do any I/O."""
