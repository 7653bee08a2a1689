from engine.testing.contracts.claims import ClaimContract
from engine.testing.contracts.endings import EndingContract
from engine.testing.contracts.equality import EqualityContract
from engine.testing.contracts.facts import FactsContract
from engine.testing.contracts.jobs import JobsContract
from engine.testing.contracts.outbox import OutboxContract
from engine.testing.contracts.races import RaceContract
from engine.testing.contracts.runs import RunsContract
from engine.testing.contracts.stages import StagesContract
from engine.testing.contracts.transactions import TransactionContract
from engine.testing.contracts.write_sets import WriteSetContract


class PersistenceContract(
    TransactionContract,
    RunsContract,
    StagesContract,
    JobsContract,
    FactsContract,
    OutboxContract,
    WriteSetContract,
    EndingContract,
    ClaimContract,
    EqualityContract,
    RaceContract,
):
    """All a `Persistence` promises. A subclass gives the fixture `persistence`: an empty store that goes by `clock`."""
