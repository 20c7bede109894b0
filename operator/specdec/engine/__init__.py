"""What the operator knows of an engine: its metrics page (`scrape`) and its live speculation endpoint (`live`)."""
