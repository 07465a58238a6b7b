"""The hospital and the doctor."""
