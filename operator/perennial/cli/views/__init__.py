"""Text for the terminal: each file draws one thing from the API's models, and reads and writes nothing."""
