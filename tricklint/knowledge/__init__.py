"""Tables about libraries: what a name is, what its defaults are. Data with a source, no code that looks at programs."""
