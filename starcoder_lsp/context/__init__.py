"""What the model sees of the code around the cursor."""
