"""The censored fit of S(B) = S_min (1 + B_crit/B)."""
