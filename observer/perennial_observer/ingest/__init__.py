"""From a request's JSON to rows that fit, with their event time. Pure but for the look-ups in ``event_time``."""
