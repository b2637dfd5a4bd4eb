"""The monitor that asks a function or an endpoint of the user's own."""
