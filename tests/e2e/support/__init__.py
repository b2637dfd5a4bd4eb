"""What the end-to-end tests share: kubectl, live traffic, objects in their smallest form, waiting."""
