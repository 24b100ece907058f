"""Takes part in the steps of a training: members of an ensemble, draws of several processes, a guard against NaN."""
