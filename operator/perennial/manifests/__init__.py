"""Pure translators from decisions to Kubernetes objects, one file per kind, and the plan of what to write."""
