"""Explanations beside the predictions: few at a time, in a thread of their own."""
