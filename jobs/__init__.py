"""Jobs: long work on files, resumable. The methods are editing's; jobs make them survive a night and a crash.

A job owns one output folder. It holds the folder's lock, writes every file completely or not at all, keeps a manifest
that is true after a kill at any moment, and goes on where it stopped.
"""

from .folder import FolderJob, JobReport
from .manifest import Record, read_records
from .run import run_job

__all__ = ["FolderJob", "JobReport", "Record", "read_records", "run_job"]
