"""Programs that answer the paper's claims from results/, and that make what is in it."""
