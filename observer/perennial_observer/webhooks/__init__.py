"""Tells others of alarms by CloudEvents: what is to be sent stands in the database until it has arrived."""
