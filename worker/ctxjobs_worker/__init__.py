"""ctxjobs_worker: the processes that run jobs."""
