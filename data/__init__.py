"""The ground floor: sources, labels, the HDF5 format, the artifact store and the workspace."""
