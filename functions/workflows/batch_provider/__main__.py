"""`python -m functions.workflows.batch_provider DIR BATCH_ID`"""

import sys
from pathlib import Path

from functions.workflows.batch_provider.batch_folder import BatchFolder
from functions.workflows.batch_provider.provider import serve

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m functions.workflows.batch_provider DIR BATCH_ID")
    serve(BatchFolder.under(Path(sys.argv[1]), sys.argv[2]))
