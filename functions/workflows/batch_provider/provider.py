"""The provider's process for one batch."""

import math
import time
from typing import Final

from functions.workflows.batch_provider.batch_folder import (
    BatchFolder,
    BatchRequest,
    BatchState,
    BatchStatus,
)
from functions.workflows.batch_provider.feature_hashing import embed

_STEP: Final = 0.25
_PATIENCE: Final = 2.0


def serve(folder: BatchFolder) -> None:
    """Works on the batch unless it is done or another process does. Restarts the work of a dead process."""
    with folder.claim(patience=_PATIENCE) as mine:
        if mine and folder.status().state in {BatchState.QUEUED, BatchState.WORKING}:
            _work(folder, folder.request())


def _work(folder: BatchFolder, request: BatchRequest) -> None:
    total = len(request.texts)
    steps = max(1, math.ceil(request.seconds / _STEP))
    for step in range(steps):
        done = total * step // steps
        folder.put_status(BatchStatus(state=BatchState.WORKING, done=done, total=total))
        if request.fail and step >= steps // 2:
            reason = f"the provider gave up after {done} of {total} items, as it was told to"
            folder.put_status(BatchStatus(state=BatchState.FAILED, done=done, total=total, error=reason))
            return
        time.sleep(request.seconds / steps)
    folder.put_result({item: embed(text, request.dimensions) for item, text in request.texts.items()})
    folder.put_status(BatchStatus(state=BatchState.COMPLETED, done=total, total=total))
