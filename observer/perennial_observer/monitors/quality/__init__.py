"""The data-quality monitor: what arrives, against the schema and the reference, beyond chance."""
