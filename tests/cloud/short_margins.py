"""The functions with margins of one second instead of fifteen, so that tests notice a lost process soon."""

import engine.bootstrap.aws
import functions.jobs
import functions.maintenance

MARGIN = 1.0

engine.bootstrap.aws.LEASE_MARGIN = engine.bootstrap.aws.TIME_RESERVE = MARGIN

jobs, maintenance = functions.jobs.handler, functions.maintenance.handler
