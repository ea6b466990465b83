"""Training of the demo checkpoints; each is one command: ``python -m semantic_edit.demo.train JOB --out DIR``."""
