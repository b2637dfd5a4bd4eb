"""Bring a bundle here and get it ready: fetch, check, load, rehearse."""
