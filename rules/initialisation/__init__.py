"""Trick 5: initialise weights for the activation that follows, and the classifier's bias for the prior."""
