"""`tricklint watch`: the user's own training command runs, hooks write down what happens in it, and the rules judge that.

`recorder` is what runs in the user's process; `record` reads what it wrote, as types that rules ask; `run` starts the
command; `verdicts` holds what the run shows against what reading says.
"""
