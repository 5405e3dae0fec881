"""The rules, one file each, in a folder per trick. Installed as `tricklint.rules`, found by `tricklint.rule.discover`."""
