"""Says what an alarm is about: which features moved and how, since when, for whom, and what it may cost."""
