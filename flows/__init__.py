"""The top floor: configuration, stages, Prefect flows, report and command line."""
