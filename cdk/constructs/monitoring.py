"""The dashboard, the alarms' actions, and the alarms on the functions' own metrics."""

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

NAMESPACE = "WorkflowEngine"
LATE_EVENTS = Duration.minutes(15)
PERIOD = Duration.minutes(5)
PERCENTILES = ("p50", "p95", "Maximum")


class Monitoring(Construct):
    """Shows every alarm of the deployment, and the metrics that its functions count under the name `service`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        service: str,
        alarms: Sequence[cloudwatch.Alarm],
        capacity: Sequence[cloudwatch.IMetric],
        topic_arn: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._service = service
        self.alarms = [*alarms, self._stuck_runs(), self._late_events()]
        if topic_arn is not None:
            topic = sns.Topic.from_topic_arn(self, "Topic", topic_arn)
            for alarm in self.alarms:
                alarm.add_alarm_action(actions.SnsAction(topic))
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            default_interval=Duration.hours(12),
            widgets=[
                [cloudwatch.AlarmStatusWidget(alarms=self.alarms, title="Alarms", width=24, height=6)],
                *self._graphs(capacity),
                [cloudwatch.AlarmWidget(alarm=alarm, title=alarm.node.path, width=6) for alarm in self.alarms],
            ],
        )

    def _stuck_runs(self) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            "StuckRuns",
            metric=self._metric("StuckRuns"),
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description="Stuck runs were found; maintenance has resumed them.",
        )

    def _late_events(self) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            "OutboxLag",
            metric=self._metric("OutboxLag", "Maximum"),
            threshold=LATE_EVENTS.to_seconds(),
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description="Events are published 15 minutes late or later, or the bus refuses them.",
        )

    def _graphs(self, capacity: Sequence[cloudwatch.IMetric]) -> list[list[cloudwatch.IWidget]]:
        runs = [self._metric(f"Runs{what}") for what in ("Started", "Completed", "Failed", "Cancelled")]
        jobs = [self._metric(f"Jobs{what}") for what in ("Completed", "Suspended", "Failed", "Ghost")]
        upkeep = [self._metric(name) for name in ("StuckRuns", "LeasesReaped", "MessagesUnread")]
        rows: list[list[cloudwatch.IWidget]] = [
            [_graph("Runs", runs), _graph("Jobs", jobs)],
            [
                _graph("Stages, milliseconds", self._spread("StageDuration")),
                _graph("Queues, milliseconds of waiting", self._spread("QueueDelay")),
            ],
            [_graph("Models, US dollars", [self._metric("AICost")]), _graph("Upkeep", upkeep)],
        ]
        last: list[cloudwatch.IWidget] = [_graph("Events, age in seconds", self._spread("OutboxLag"))]
        return [*rows, [*last, _graph("Database", capacity)] if capacity else last]

    def _spread(self, name: str) -> list[cloudwatch.Metric]:
        return [self._metric(name, statistic).with_(label=statistic) for statistic in PERCENTILES]

    def _metric(self, name: str, statistic: str = "Sum") -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={"service": self._service},
            period=PERIOD,
            statistic=statistic,
        )


def _graph(title: str, metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=12)
