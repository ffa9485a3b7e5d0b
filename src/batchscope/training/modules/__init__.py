"""Networks that are nn.Modules: in turn, in streams, under vmap."""
