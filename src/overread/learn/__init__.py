"""The only rooms that know Keras and the inference runtime."""
