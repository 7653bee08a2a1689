"""The application stack, replaced by every deployment: queues, functions, bus, schedules, alarms."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.config import CONTROL_CONCURRENCY, BundleName, Config, Pool
from cdk.constructs.control_queue import ControlQueue
from cdk.constructs.database import read_secret
from cdk.constructs.environment import environment_of
from cdk.constructs.function import EngineFunction, Place
from cdk.constructs.migration import Migration
from cdk.constructs.monitoring import Monitoring
from cdk.constructs.queues import DeadLetters, ServedQueue
from cdk.constructs.sweep import Sweep
from cdk.stacks import grants
from cdk.stacks.acknowledgments import (
    ANY_INTERFACE,
    APP,
    DEAD_LETTERS,
    acknowledge,
    acknowledge_each,
    function_role,
)
from cdk.stacks.data import DataStack

MIGRATION_TIMEOUT = Duration.minutes(5)
CONTROL_TIMEOUT = Duration.seconds(60)
FIRST_RUN = """engine run document-analysis --input '{"content": "To be, or not to be."}' --stack """
LIST_RUNS = "engine runs list --stack "


class AppStack(Stack):
    """Everything that runs. All of its content can be recreated."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, data: DataStack, **options: Any) -> None:
        super().__init__(scope, construct_id, **options)
        self._data = data
        self._place = Place(
            architecture=config.architecture,
            log_retention=_LOG_RETENTION[config.log_days],
            network=data.network,
        )
        self.bus = events.EventBus(self, "Events", description="What happened in runs")
        self.unread = DeadLetters(self, "Unread", of="messages that could not be read")
        self.control_queue = ControlQueue(self, "Wakes", timeout=CONTROL_TIMEOUT)
        self.work = {
            name: ServedQueue(self, f"Work-{name}", timeout=Duration.seconds(pool.timeout))
            for name, pool in config.pools.items()
        }
        self._environment = self._shared_environment(config.pools) | self._everywhere()
        self._shared_grants = self._grants()
        self.migrate = self._migrate()
        self.maintenance = self._maintenance(config)
        self.jobs = {name: self._jobs(name, pool, config) for name, pool in config.pools.items()}
        Monitoring(
            self,
            "Monitoring",
            service=self.stack_name,
            alarms=self._alarms(),
            capacity=data.database.capacity,
            topic_arn=config.alarm_topic,
        )
        self._say()
        self._acknowledge()

    def _shared_environment(self, pools: Mapping[str, Pool]) -> dict[str, str]:
        database = self._data.database.application
        rendered = {
            name: {"queue_url": self.work[name].queue.queue_url, "timeout": pool.timeout}
            for name, pool in pools.items()
        }
        return environment_of(
            profile="aws",
            database_url=database.url,
            database_login=database.kind,
            database_secret=database.secret_arn,
            pools=self.to_json_string(rendered),
            bucket=self._data.bucket.bucket_name,
            event_bus=self.bus.event_bus_name,
            control_queue_url=self.control_queue.served.queue.queue_url,
            control_queue_arn=self.control_queue.served.queue.queue_arn,
            schedule_role_arn=self.control_queue.role.role_arn,
            schedule_group=self.control_queue.group_name,
            schedule_dead_letter_arn=self.control_queue.missed.queue.queue_arn,
            dead_letter_queue_url=self.unread.queue.queue_url,
        )

    def _everywhere(self) -> dict[str, str]:
        """The dimension of metrics, and, in an IPv6-only network, the use of AWS's dual-stack endpoints."""
        network = self._data.network
        ours = {"POWERTOOLS_SERVICE_NAME": self.stack_name}
        return ours | ({"AWS_USE_DUALSTACK_ENDPOINT": "true"} if network is not None and network.dual_stack else {})

    def _grants(self) -> Sequence[iam.PolicyStatement]:
        queues = [*(each.queue for each in self.work.values()), self.control_queue.served.queue, self.unread.queue]
        return (
            grants.send_to(queues),
            *grants.blobs(self._data.bucket),
            grants.emit(self.bus.event_bus_arn),
            *grants.schedule_wakeups(self.control_queue.schedules_arn, self.control_queue.role),
            *self._data.database.application.grants,
        )

    def _migrate(self) -> EngineFunction:
        database = self._data.database
        owner = database.owner
        migrate = EngineFunction(
            self,
            "Migrate",
            module="migrate",
            place=self._place,
            timeout=MIGRATION_TIMEOUT,
            memory=512,
            environment=environment_of(
                database_url=owner.url,
                database_login=owner.kind,
                database_secret=owner.secret_arn,
                database_role=database.role,
            )
            | self._everywhere(),
            grants=owner.grants,
        )
        self._migration = Migration(self, "Migration", function=migrate.function, timeout=MIGRATION_TIMEOUT)
        self._migration.node.add_dependency(migrate.role)
        return migrate

    def _maintenance(self, config: Config) -> EngineFunction:
        control = self.control_queue.served.queue
        maintenance = EngineFunction(
            self,
            "Maintenance",
            module="maintenance",
            place=self._place,
            timeout=CONTROL_TIMEOUT,
            memory=1024,
            environment=self._environment | environment_of(model_keys_secret=config.model_keys),
            grants=[*self._shared_grants, grants.read_queue(control), *_model_grants(config)],
        )
        maintenance.read(control, concurrency=CONTROL_CONCURRENCY)
        maintenance.node.add_dependency(self._migration)
        missed = self.control_queue.missed.queue
        Sweep(self, "Sweep", kind=config.maintenance, function=maintenance.function, missed=missed)
        return maintenance

    def _jobs(self, name: str, pool: Pool, config: Config) -> EngineFunction:
        queue = self.work[name].queue
        calls_models = pool.bundle is BundleName.AI
        keys = environment_of(model_keys_secret=config.model_keys) if calls_models else {}
        jobs = EngineFunction(
            self,
            f"Jobs-{name}",
            module="jobs",
            place=self._place,
            timeout=Duration.seconds(pool.timeout),
            memory=pool.memory,
            environment=self._environment | keys,
            grants=[*self._shared_grants, grants.read_queue(queue), *(_model_grants(config) if calls_models else ())],
            bundle=pool.bundle,
        )
        jobs.read(queue, concurrency=pool.concurrency)
        jobs.node.add_dependency(self._migration)
        return jobs

    def _alarms(self) -> list[Any]:
        queues = [*self.work.values(), self.control_queue.served]
        functions = [*self.jobs.values(), self.maintenance, self.migrate]
        return [
            *(alarm for queue in queues for alarm in queue.alarms),
            self.unread.alarm,
            self.control_queue.missed.alarm,
            *(alarm for function in functions for alarm in function.alarms),
            *self._data.database.alarms,
        ]

    def _acknowledge(self) -> None:
        acknowledge(self, APP)
        acknowledge_each([self.unread.queue, self.control_queue.missed.queue], DEAD_LETTERS)
        working = [function.role for function in (self.maintenance, *self.jobs.values())]
        acknowledge_each(working, function_role(self._data.stack_name))
        if self._data.network is not None:
            acknowledge_each([*working, self.migrate.role], ANY_INTERFACE)

    def _say(self) -> None:
        outputs = {
            "MaintenanceFunction": self.maintenance.function.function_name,
            "ControlQueueUrl": self.control_queue.served.queue.queue_url,
            "EventBusName": self.bus.event_bus_name,
            **{f"WorkQueueUrl{name.title()}": each.queue.queue_url for name, each in self.work.items()},
            "FirstRun": FIRST_RUN + self.stack_name,
            "ListRuns": LIST_RUNS + self.stack_name,
        }
        for name, value in outputs.items():
            CfnOutput(self, name.replace("-", ""), value=value)


def _model_grants(config: Config) -> Sequence[iam.PolicyStatement]:
    """The grant to read the models' keys, for functions that call models and for maintenance, which polls batches."""
    return () if config.model_keys is None else (read_secret(config.model_keys),)


_LOG_RETENTION = {
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
}
