"""The operator's process: watches by Kopf, a coalescing queue, and one level-triggered pass per key."""
