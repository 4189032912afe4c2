"""A plate streams from a small pipeline into a viewer: the demo, and its parts for pipelines of your own.

`synth` draws a plate, `plate` reads one, `analysis` counts cells, `orchestrator` runs steps over plates in worker
processes, `run` is the command ``openhcs-viewers demo``.
"""

from __future__ import annotations
