"""Calendar auth tokens: minted, encrypted, kept and used."""
