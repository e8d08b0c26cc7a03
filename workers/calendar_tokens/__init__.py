"""Calendar tokens: requested, encrypted, stored and used."""
