"""What has been seen: predictions, labels, references, verdicts in the database, bundles as files."""
