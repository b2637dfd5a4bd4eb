"""A model in a user's own image: asked over HTTP on the pod's loopback, as its runtime's adapter declares."""
