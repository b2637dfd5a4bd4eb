"""Performance without labels, from what was learnt of labelled rows."""
