"""A slow embedding service, simulated: one process per batch, which outlives the process that submitted it.

Client and provider share nothing but a folder per batch: `request.json`, `status.json`, `result.json`. The
provider holds a lock on `lock` while it works, which the operating system drops however the process ends.
It imports the standard library only.
"""
