"""Alarms and the dashboard look at what is really counted, and go where the config says."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from functions.metering import NAMESPACE, Metric
from tests.infrastructure.synthesis import Resources, of_type, synthesize, template

SERVICE = "engine-dev-app"
TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"
ALARMS = {
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): 2,
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): 4,
    ("AWS/Lambda", "Errors"): 3,
    ("AWS/Lambda", "Throttles"): 3,
    ("AWS/Lambda", "Duration"): 3,
    (NAMESPACE, Metric.STUCK_RUNS): 1,
    (NAMESPACE, Metric.OUTBOX_LAG): 1,
    ("AWS/RDS", "ACUUtilization"): 1,
}
SHOWN = {
    Metric.RUNS_STARTED,
    Metric.RUNS_COMPLETED,
    Metric.RUNS_FAILED,
    Metric.RUNS_CANCELLED,
    Metric.JOBS_COMPLETED,
    Metric.JOBS_SUSPENDED,
    Metric.JOBS_FAILED,
    Metric.JOBS_GHOST,
    Metric.STAGE_DURATION,
    Metric.QUEUE_DELAY,
    Metric.OUTBOX_LAG,
    Metric.STUCK_RUNS,
    Metric.LEASES_REAPED,
    Metric.MESSAGES_UNREAD,
    Metric.AI_COST,
}


def alarms(*stacks: Resources) -> list[Any]:
    return [alarm for stack in stacks for alarm in of_type(stack, "AWS::CloudWatch::Alarm").values()]


def graphed(app: Resources) -> list[list[Any]]:
    """The metrics of the dashboard's graphs, as CloudWatch writes them: namespace, name, dimensions, options."""
    (dashboard,) = of_type(app, "AWS::CloudWatch::Dashboard").values()
    parts = dashboard["DashboardBody"]["Fn::Join"][1]
    body = json.loads("".join(part if isinstance(part, str) else "x" for part in parts))
    graphs = [each["properties"] for each in body["widgets"] if each["type"] == "metric"]
    return [metric for graph in graphs if "annotations" not in graph for metric in graph["metrics"]]


def test_every_alarm_there_should_be_is_there(app: Resources, data: Resources) -> None:
    assert Counter((each["Namespace"], each["MetricName"]) for each in alarms(app, data)) == ALARMS


def test_silence_is_no_alarm(app: Resources, data: Resources) -> None:
    assert {each["TreatMissingData"] for each in alarms(app, data)} == {"notBreaching"}


def test_functions_are_near_their_timeout_at_95_percent_of_it(app: Resources) -> None:
    timeouts = {name: each["Timeout"] for name, each in of_type(app, "AWS::Lambda::Function").items()}
    near = {
        each["Dimensions"][0]["Value"]["Ref"]: each["Threshold"]
        for each in alarms(app)
        if each["MetricName"] == "Duration"
    }
    assert near == {name: 950 * timeout for name, timeout in timeouts.items()}


def test_events_are_late_after_a_quarter_of_an_hour(app: Resources) -> None:
    (late,) = (each for each in alarms(app) if each["MetricName"] == "OutboxLag")
    assert (late["Threshold"], late["Statistic"], late["ComparisonOperator"]) == (
        900,
        "Maximum",
        "GreaterThanOrEqualToThreshold",
    )


def test_what_functions_count_is_kept_apart_by_deployment(app: Resources) -> None:
    functions = of_type(app, "AWS::Lambda::Function").values()
    assert {each["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for each in functions} == {SERVICE}
    counted = [each for each in alarms(app) if each["Namespace"] == NAMESPACE]
    assert all(each["Dimensions"] == [{"Name": "service", "Value": SERVICE}] for each in counted)
    assert all(metric[2:4] == ["service", SERVICE] for metric in graphed(app) if metric[0] == NAMESPACE)


def test_the_dashboard_shows_every_alarm_and_all_that_is_counted(app: Resources, data: Resources) -> None:
    assert {metric[1] for metric in graphed(app) if metric[0] == NAMESPACE} == SHOWN
    assert ["AWS/RDS", "ACUUtilization"] in [metric[:2] for metric in graphed(app)]
    (dashboard,) = of_type(app, "AWS::CloudWatch::Dashboard").values()
    drawn = json.dumps(dashboard)
    for name in of_type(app, "AWS::CloudWatch::Alarm"):
        assert drawn.count(f'"{name}"') == 2, name


def test_every_alarm_goes_to_the_topic(tmp_path: Path) -> None:
    assert synthesize(tmp_path, "dev", **{"engine:alarm_topic": TOPIC}).returncode == 0
    stacks = [template(tmp_path, f"engine-dev-{each}") for each in ("data", "app")]
    assert [each["AlarmActions"] for each in alarms(*stacks)] == [[TOPIC]] * sum(ALARMS.values())
