"""From rows to outputs: admission, batching of concurrent requests, the model's call."""
