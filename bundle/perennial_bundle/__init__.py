"""The model bundle: manifest, schema, reference sample, digest, safe loading."""
