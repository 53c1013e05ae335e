"""Train new encoders: the paper's loss, a loop, data, evaluation, checkpoints and sweeps."""
