"""From judged windows to alarms: how many must breach, what is remembered and said, silence by the clock."""
