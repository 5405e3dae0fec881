"""The process that runs a project's code: preloaded once, forked for every build, fenced in. Runs in the user's
environment, so nothing here needs more than Python and torch."""
