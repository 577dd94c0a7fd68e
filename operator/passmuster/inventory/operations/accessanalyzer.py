"""Analyzers of IAM Access Analyzer: of access from outside, of access that nobody uses, of access within."""

from passmuster.inventory.call import Call

ANALYZERS = Call("accessanalyzer", "ListAnalyzers", items="analyzers", keep=("arn", "name", "type", "status"))
