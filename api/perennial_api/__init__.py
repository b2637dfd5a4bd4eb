"""Pydantic models of Perennial's resources and the generator of its CRDs."""
