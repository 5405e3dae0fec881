"""What runs inside the watched process: it imports nothing but the standard library and torch, because the process is the
user's own. It draws no random number and changes no value; what it cannot look at, it leaves out."""
