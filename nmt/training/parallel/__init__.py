"""Several processes that train one model: gangs, expert parallelism, checkpoints, preemption."""
