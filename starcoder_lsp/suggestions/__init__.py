"""What the person is shown of what the model wrote."""
