"""`tricklint watch`: the recorder, the record, and what rules make of it."""
