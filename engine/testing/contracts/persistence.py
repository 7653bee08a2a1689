from engine.testing.contracts.claims import ClaimContract
from engine.testing.contracts.decisions import DecisionContract
from engine.testing.contracts.equality import EqualityContract
from engine.testing.contracts.events import EventContract
from engine.testing.contracts.facts import FactsContract
from engine.testing.contracts.guards import GuardContract
from engine.testing.contracts.jobs import JobsContract
from engine.testing.contracts.outbox import OutboxContract
from engine.testing.contracts.races import RaceContract
from engine.testing.contracts.runs import RunsContract
from engine.testing.contracts.stages import StagesContract
from engine.testing.contracts.transactions import TransactionContract
from engine.testing.contracts.writes import WriteContract


class PersistenceContract(
    TransactionContract,
    GuardContract,
    WriteContract,
    EventContract,
    DecisionContract,
    RunsContract,
    StagesContract,
    JobsContract,
    FactsContract,
    OutboxContract,
    ClaimContract,
    EqualityContract,
    RaceContract,
):
    """The contract of `Persistence`. A subclass provides the fixture `persistence`: an empty store on `clock`."""
