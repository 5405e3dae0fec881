"""The commands of `tricklint.cli`, one file each."""
