"""Door: `PipelineOrchestrator` and `Step` under the path the original documents use."""

from __future__ import annotations

from openhcs_viewers.demo.orchestrator import PipelineOrchestrator, RunResult
from openhcs_viewers.demo.pipeline import Step

__all__ = ["PipelineOrchestrator", "RunResult", "Step"]
