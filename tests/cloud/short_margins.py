"""The functions with margins of a second instead of fifteen, so that a lost process is missed in a test's time."""

import engine.bootstrap.aws
import functions.jobs
import functions.maintenance

MARGIN = 1.0

engine.bootstrap.aws.LEASE_MARGIN = engine.bootstrap.aws.TIME_RESERVE = MARGIN

jobs, maintenance = functions.jobs.handler, functions.maintenance.handler
