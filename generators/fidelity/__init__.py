"""How near generated images are to real ones: distances of features, agreement with labels, diversity, copying."""
