"""The parts of the HTML page: sections, charts, tables, and its style and script (assets/)."""
