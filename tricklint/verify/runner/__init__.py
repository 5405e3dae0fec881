"""What runs inside a training process: it must import nothing but the standard library and torch, because the process
may be the user's own interpreter, in which neither tricklint nor its libraries are installed."""
