"""The command `kubectl perennial`: what a person types; it talks to the API server with the person's own rights."""
