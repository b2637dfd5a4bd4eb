"""Pure decisions of a rollout: counts, time and settings come in as arguments, verdicts go out."""
