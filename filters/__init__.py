"""What is kept of the synthetic images: density-ratio subsampling, the teacher's filter, relabelling."""
