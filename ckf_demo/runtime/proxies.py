"""Keeps a server's requests to itself away from the proxy that the environment names."""

import os

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def bypass_proxies(host: str) -> None:
    """Add this machine and ``host`` to ``NO_PROXY``, beside the hosts that it names already.

    Gradio asks its own address at the start. With ``HTTP_PROXY`` alone this request would go to
    the proxy and fail.
    """
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [name for name in (part.strip() for part in listed.split(",")) if name]
    hosts += [name for name in (*LOOPBACK, host) if name not in hosts]
    # libraries read either spelling
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(hosts)
