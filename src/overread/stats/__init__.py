"""What numbers may be claimed: pure functions on arrays."""
