"""One dashboard, and where alarms go."""

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

NAMESPACE, SERVICE = "WorkflowEngine", "workflow-engine"
JOBS = ("JobsCompleted", "JobsFailed", "JobsSuspended", "JobsGhost")
UPKEEP = ("StuckRuns", "LeasesReaped", "MessagesUnread")


class Watching(Construct):
    """Every alarm of the deployment at a glance, and what the functions count."""

    def __init__(
        self, scope: Construct, construct_id: str, *, alarms: Sequence[cloudwatch.Alarm], topic_arn: str | None
    ) -> None:
        super().__init__(scope, construct_id)
        stuck = cloudwatch.Alarm(
            self,
            "StuckRuns",
            metric=_counted("StuckRuns"),
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description="Runs were found that nothing would have woken; maintenance has taken them up again.",
        )
        self.alarms = [*alarms, stuck]
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
                [_graph("Jobs", JOBS), _graph("Upkeep", UPKEEP)],
                [cloudwatch.AlarmWidget(alarm=alarm, title=alarm.node.path, width=6) for alarm in alarms],
            ],
        )


def _graph(title: str, names: Sequence[str]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=[_counted(name) for name in names], width=12)


def _counted(name: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=name,
        dimensions_map={"service": SERVICE},
        period=Duration.minutes(5),
        statistic="Sum",
    )
