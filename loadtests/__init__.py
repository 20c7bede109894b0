"""Load tests for OpenAI-compatible endpoints: is speculation faster, for whom, and by how much.

`loadtests.run.run` drives targets through a plan, `loadtests.report.build_report` turns a run folder into a report.
Locust lives in `loadtests.generator` alone and only ever in a process of its own: it patches the standard library.
"""
