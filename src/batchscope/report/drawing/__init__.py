"""How charts are drawn: static and interactive, one palette."""
