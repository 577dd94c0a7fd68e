"""What is made of the metrics: alert rules with their runbooks, and dashboards. Data in, text out; nothing runs here.

The files are written by .ci/generate.py, the chart ships them, and `passmuster rules` and `passmuster dashboards` print
them. Every query is held against the metrics contract when it is rendered, so that a metric cannot be renamed without
its alerts and panels.
"""
