"""Who and what there is in the fake workspace."""
