"""The chart's reference, made from what stands in its values.yaml.

comments   values.yaml with its comments -> settings
schema     settings -> values.schema.json
readme     settings -> the table in README.md
"""
