"""For Django, which looks here for the application's commands."""
