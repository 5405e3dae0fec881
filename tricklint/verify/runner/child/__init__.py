"""What the processes find on their path that a training run starts; see `children`."""
