"""The monitors that are compared; each is a program that runs in its own environment."""
