"""The command line: parses and calls. The only place that prints."""
