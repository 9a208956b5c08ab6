"""The part of the model's text that the user is shown."""
