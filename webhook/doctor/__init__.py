"""What `recall-links doctor` examines."""
