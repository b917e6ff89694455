"""Why there is no broker: told in words, whatever pika has wrapped them in."""

from __future__ import annotations

import pytest
from pika.adapters.utils import connection_workflow as workflow
from pika.exceptions import (
    AMQPConnectionError,
    AuthenticationError,
    ConnectionClosed,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    StreamLostError,
)

from energymarket.transport.amqp import _words


def connecting(problem: Exception) -> BaseException:
    """As a connection that could not be made tells it."""
    failed = workflow.AMQPConnectionWorkflowFailed([problem])
    told: BaseException = AMQPConnectionError(failed)
    return told


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            connecting(workflow.AMQPConnectorSocketConnectError(ConnectionRefusedError(111, "refused"))),
            ["refused"],
        ),
        (
            connecting(
                workflow.AMQPConnectorAMQPHandshakeError(
                    ProbableAuthenticationError("ConnectionClosedByBroker: (403) 'ACCESS_REFUSED'")
                )
            ),
            ["password", "ACCESS_REFUSED"],
        ),
        (
            connecting(
                workflow.AMQPConnectorAMQPHandshakeError(ProbableAccessDeniedError("vhost /nix not found"))
            ),
            ["vhost", "/nix not found"],
        ),
        (
            connecting(
                workflow.AMQPConnectorStackTimeout("Timeout while setting up AMQP to 'h'/(1, 2, 6, '', 3)")
            ),
            ["it does not answer"],
        ),
        (ConnectionClosedByBroker(320, "CONNECTION_FORCED - shutdown"), ["CONNECTION_FORCED - shutdown"]),
        (StreamLostError("Stream connection lost: reset"), ["Stream connection lost: reset"]),
        (ConnectionClosed(200, "Normal shutdown"), ["Normal shutdown"]),
        (AuthenticationError(), ["AuthenticationError"]),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_reason_is_a_line_for_people(problem: BaseException, told: list[str]) -> None:
    """What it says is in it, no tuple, no address of a socket."""
    words = _words(problem)
    assert all(each in words for each in told)
    assert not words.startswith("(")
    assert "Timeout while" not in words
