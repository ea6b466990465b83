"""Floor 3.7: long work on files. The methods are editing's; here is what makes them survive a night and a crash.

A job owns one output folder. It holds the folder's lock, writes every file whole or not at all, keeps a manifest that
is true after a kill at any moment, and goes on where it stopped.
"""

from .folder import FolderJob, JobReport, run_job
from .manifest import Record, read_records

__all__ = ["FolderJob", "JobReport", "Record", "read_records", "run_job"]
