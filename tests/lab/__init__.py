"""A fake Recall and a signed sender that import nothing of ours, so a shared bug cannot hide."""
