"""Jobs: work in killable processes beside the app; what is asked (`TrainSpec`), the queue, its dispatcher."""

from .dispatcher import Dispatcher
from .job import Job
from .memory import available_bytes, fits_in_memory
from .queue import JobQueue
from .spec import ENDED, JobSpec, TrainSpec

__all__ = ["ENDED", "Dispatcher", "Job", "JobQueue", "JobSpec", "TrainSpec", "available_bytes", "fits_in_memory"]
