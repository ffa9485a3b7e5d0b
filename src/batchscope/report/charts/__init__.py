"""Each chart of a report, described once."""
