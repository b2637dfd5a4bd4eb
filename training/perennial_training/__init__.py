"""What runs inside retraining Jobs, and the library users import in their own trainer."""
