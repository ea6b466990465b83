"""Training of the demo checkpoints, one command each: ``python -m semantic_edit.offline.train_demo JOB --out DIR``."""
