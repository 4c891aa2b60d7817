"""Keys, sealing, openers, sealed list files, commitments. The only room that holds a key."""
