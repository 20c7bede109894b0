"""The test cluster: its programs, its nodes, its images. Run the modules with `python -m tests.cluster.<module>`."""
