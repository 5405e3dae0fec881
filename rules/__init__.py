"""The rules, one file each, a folder per trick; installed as `tricklint.rules`, found by `tricklint.rule.discover`."""
