"""Service levels: reads what the gateway's routers have counted, keeps it by time, and judges how fast error budgets burn."""
