"""What is done with scored pairs: filtering, measuring."""
