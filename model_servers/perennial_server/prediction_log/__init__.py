"""What was predicted, on its way to whoever watches: bounded, batched, never in the way of an answer."""
