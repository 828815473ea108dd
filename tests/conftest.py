"""Settings of every test: one thread, since the networks of tests are too small to share."""

import os

# Before torch is imported anywhere. On a busy machine, two threads that wait for each other are slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
