"""A small deterministic renderer: convex solids, perspective, hidden surfaces, Lambert shading, a soft shadow."""
