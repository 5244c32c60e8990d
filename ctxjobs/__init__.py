"""ctxjobs: background jobs that run in the context that enqueued them."""
