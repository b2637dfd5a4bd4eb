"""One look at every deployment: finds closed windows, has each judged, stores what was found. Does the I/O."""
