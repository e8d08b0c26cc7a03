"""What strangers and broken senders might send."""
