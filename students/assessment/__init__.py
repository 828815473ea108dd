"""What is known of a student beside its result: agreement, calibration, robustness, latency and size."""
