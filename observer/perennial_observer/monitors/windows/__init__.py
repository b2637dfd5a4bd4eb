"""Windows of the log: where one ends, which rows are of a slice, and those that were judged."""
