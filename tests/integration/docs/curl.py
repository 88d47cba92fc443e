"""What is started in place of curl where the machine has none."""

import shlex
import sys

import httpx

from tests.integration.apps.curl import curl_request

NOT_CONNECTED = 7  # as curl has it
SECONDS_MAX = 120


def main() -> int:
    """Send what the arguments say; print the answer as it is."""
    try:
        with httpx.Client(timeout=SECONDS_MAX, trust_env=False) as http:
            answer = http.send(curl_request(shlex.join(["curl", *sys.argv[1:]])))
    except httpx.TransportError:
        return NOT_CONNECTED
    sys.stdout.write(answer.text)
    return 0
