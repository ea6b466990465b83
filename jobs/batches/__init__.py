"""Jobs in batches: any number of workers, here or on a cluster, each of which finishes a few pictures at a time."""

from .dry_run import dry_run
from .job import BatchJob
from .ray_engine import RayEngine
from .run import run_batches

__all__ = ["BatchJob", "RayEngine", "dry_run", "run_batches"]
