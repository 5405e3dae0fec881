"""Reports of a session: the terminal's table, one self-contained HTML file, and tables for pandas."""
