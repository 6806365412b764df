"""Where a Ray cluster is, and whether it answers there."""

import socket

ADDRESS = "RAY_ADDRESS"
SECONDS_TO_ANSWER = 10.0


def silence(address: str) -> Exception | None:
    """Return why nothing answers at an address of Ray; None where something does.

    A word of Ray's, such as `auto`, names no host to ask: None.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return None
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        return error
    return None
