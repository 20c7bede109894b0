"""The generated parts of the chart: `python -m charts.reference`.

comments   values.yaml with its comments -> settings
schema     settings -> values.schema.json
readme     settings -> the tables in README.md
grafana    dashboards/*.yaml -> dashboards
"""
