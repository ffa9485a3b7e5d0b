"""Studies whose answers are known, and the self-test that uses them."""
