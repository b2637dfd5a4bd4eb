"""What windows are compared with: where it comes from, and how its rows become numbers."""
