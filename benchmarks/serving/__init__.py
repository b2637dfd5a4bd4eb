"""Our model server beside its peers: the same model, the same core, the same client. See `__main__`."""
