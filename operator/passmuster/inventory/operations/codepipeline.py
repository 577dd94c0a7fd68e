"""Pipelines and what became of their executions."""

from passmuster.inventory.call import RARELY, Call

PIPELINES = Call("codepipeline", "ListPipelines", items="pipelines", keep=("name", "pipelineType"), freshness=RARELY)
PIPELINE_EXECUTIONS = Call(
    "codepipeline",
    "ListPipelineExecutions",
    each=PIPELINES,
    over="name",
    param="pipelineName",
    items="pipelineExecutionSummaries",
    keep=("status", "startTime", "lastUpdateTime"),
    absent=("PipelineNotFoundException",),
    freshness=RARELY,
)
