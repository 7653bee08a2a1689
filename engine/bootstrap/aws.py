"""The aws profile: PostgreSQL, S3, SQS and EventBridge, with one invocation at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from engine.adapters.aws.blob_store import S3BlobStore
from engine.adapters.aws.clients import AwsClients, Clients
from engine.adapters.aws.database_login import IamPassword, PasswordProvider, secret_password
from engine.adapters.aws.event_sink import EventBridgeSink
from engine.adapters.aws.job_transport import SqsJobTransport
from engine.adapters.aws.queue_messages import QueueMessages
from engine.adapters.aws.s3_location import S3Location
from engine.adapters.aws.scheduler import ControlQueue, SqsScheduler
from engine.adapters.aws.secrets import SecretReader
from engine.adapters.sql.persistence import SqlPersistence
from engine.adapters.system import SystemClock, SystemIds
from engine.bootstrap.models import stage_ai, with_model_keys
from engine.bootstrap.registry import load_registry
from engine.domain.errors import SettingsError
from engine.execution.attempt import Attempt
from engine.execution.executors import LocalExecutor
from engine.hosts.options import HostOptions
from engine.hosts.serverless import ServerlessHost
from engine.kernel.kernel import Kernel
from engine.ports.clock import Clock
from engine.ports.deps import Deps
from engine.ports.registry import Registry
from engine.settings import Settings

CONNECTIONS = 3
"""Connections: for the invocation, its heartbeat, and a release on SIGTERM. Each is opened when it is needed."""

TIME_RESERVE = 15.0
"""Seconds of a function's timeout that are reserved for finishing, flushing and answering."""

ANSWER_RESERVE = 5.0
"""Seconds that must be left beyond a stage's timeout to start it; less than the timeout of the function leaves."""

LEASE_MARGIN = 15.0
"""Seconds that a lease outlasts its invocation, and that a message stays hidden after the lease."""


@dataclass(frozen=True, slots=True)
class AwsEngine:
    """A kernel over AWS, and the queues that the handlers use."""

    settings: Settings
    kernel: Kernel
    clients: Clients

    def host(
        self,
        worker_id: str,
        time_left: Callable[[], float],
        *,
        on_abandoned: Callable[[], None],
        on_body: Callable[[Attempt], None] = lambda _attempt: None,
    ) -> ServerlessHost:
        """A host for one invocation. A lease lasts to its end, so it needs no renewal."""
        return ServerlessHost(
            self.kernel,
            worker_id=worker_id,
            time_left=time_left,
            reserve=ANSWER_RESERVE,
            lease=lambda: time_left() + LEASE_MARGIN,
            options=HostOptions(heartbeat=float("inf")),
            on_abandoned=on_abandoned,
            on_body=on_body,
        )

    def close(self) -> None:
        self.kernel.deps.persistence.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def work_queue(self, pool: str) -> QueueMessages:
        return QueueMessages(self.clients, self.settings.pools[pool].queue_url)

    @property
    def control_queue(self) -> QueueMessages:
        return QueueMessages(self.clients, _given(self.settings.control_queue_url))

    @property
    def registry(self) -> Registry:
        return self.kernel.deps.registry

    @property
    def dead_letters(self) -> QueueMessages:
        """The queue for undecodable messages. Raises `SettingsError` when none is configured."""
        if self.settings.dead_letter_queue_url is None:
            raise SettingsError(
                "ENGINE_DEAD_LETTER_QUEUE_URL is not set, so an undecodable message cannot be kept; set it"
            )
        return QueueMessages(self.clients, self.settings.dead_letter_queue_url)


def open_aws(settings: Settings, *, clients: Clients | None = None, clock: Clock | None = None) -> AwsEngine:
    """Wires the engine. It opens no connection, except to read the secret with the keys of models.

    Raises `SettingsError` for another profile or an invalid secret. `clients` replace those of the environment; `clock`
    also replaces the database's clock.
    """
    if settings.profile != "aws":
        raise SettingsError(f"ENGINE_PROFILE is {settings.profile!r}; functions need 'aws' and its settings")
    clients, store_clock = clients or AwsClients(), clock
    clock = clock or SystemClock()
    if settings.model_keys_secret is not None:
        settings = with_model_keys(settings, SecretReader(clients, clock).fields(settings.model_keys_secret))
    pool_timeouts = {name: max(1.0, pool.timeout - TIME_RESERVE) for name, pool in settings.pools.items()}
    registry, ids = load_registry(settings, pool_timeouts), SystemIds()
    persistence = SqlPersistence(
        settings.store_url,
        clock=store_clock,
        password=password_provider(settings, clients, clock),
        pool_size=CONNECTIONS,
    )
    kernel = Kernel(
        Deps(
            persistence=persistence,
            blob_store=S3BlobStore(clients, S3Location(_given(settings.bucket))),
            job_transport=SqsJobTransport(clients, {name: pool.queue_url for name, pool in settings.pools.items()}),
            event_sink=EventBridgeSink(clients, _given(settings.event_bus)),
            scheduler=SqsScheduler(clients, _control_queue(settings), clock),
            clock=clock,
            registry=registry,
            executor=LocalExecutor(),
            ids=ids,
            ai_for=stage_ai(settings, persistence, registry, ids),
            inline_max=settings.inline_output_max_bytes,
            pool_timeouts=pool_timeouts,
        )
    )
    return AwsEngine(settings, kernel, clients)


def message_hidden(time_left: float) -> float:
    """Seconds that a job's message stays hidden: longer than the job's lease, which outlasts the invocation."""
    return time_left + 2 * LEASE_MARGIN


def password_provider(settings: Settings, clients: Clients, clock: Clock) -> PasswordProvider | None:
    """The source of connection passwords; None when the URL needs none."""
    match settings.database_login:
        case "iam":
            address = urlsplit(settings.store_url)
            return IamPassword(
                clients, clock, host=address.hostname or "", port=address.port or 5432, user=address.username or ""
            )
        case "secret":
            return secret_password(SecretReader(clients, clock), _given(settings.database_secret))
        case _:
            return None


def _control_queue(settings: Settings) -> ControlQueue:
    return ControlQueue(
        url=_given(settings.control_queue_url),
        arn=_given(settings.control_queue_arn),
        role_arn=_given(settings.schedule_role_arn),
        dead_letter_arn=settings.schedule_dead_letter_arn,
        schedule_group=settings.schedule_group,
    )


def _given(value: str | None) -> str:
    assert value is not None, "Settings checked what profile aws needs"
    return value
