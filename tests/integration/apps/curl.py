"""Lines for curl, sent without it: a machine may not have it."""

import shlex

import httpx


def curl_request(line: str) -> httpx.Request:
    """Say what curl would send."""
    words = iter(shlex.split(line)[1:])
    method, url, headers, data = "GET", "", {}, []
    for word in words:
        match word:
            case "-s":
                pass
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                data.append(next(words))
            case _:
                url = word
    if data:
        method = "POST"
        headers = {"content-type": "application/x-www-form-urlencoded", **headers}
    return httpx.Request(method, url, headers=headers, content="&".join(data))
