"""A private network: hosts as network namespaces, joined by one switch."""

from __future__ import annotations

from benchmarks.mounts.stage import Stage

_SWITCH = "switch"


def connect(stage: Stage, hosts: dict[str, str]) -> None:
    """Join hosts of a stage, which are made if need be.

    Args:
        stage: where they live.
        hosts: name (at most 15 characters) and IPv4 address of each; all share one /24 network.
    """
    stage.namespace(_SWITCH)
    stage.run("ip", "link", "add", "name", "bridge", "type", "bridge", host=_SWITCH)
    stage.run("ip", "link", "set", "bridge", "up", host=_SWITCH)
    join(stage, hosts)


def join(stage: Stage, hosts: dict[str, str]) -> None:
    """Join more hosts to a network that `connect` has made.

    Args:
        stage: where they live.
        hosts: as for `connect`.
    """
    for name, address in hosts.items():
        there = stage.namespace(name)
        # the other end is named in the switch's own namespace, and moved to the host
        stage.run("ip", "link", "add", "name", name, "type", "veth", "peer", "name", "lan", host=_SWITCH)
        stage.run("ip", "link", "set", "lan", "netns", str(there), host=_SWITCH)
        stage.run("ip", "link", "set", "dev", name, "master", "bridge", "up", host=_SWITCH)
        stage.run("ip", "address", "add", f"{address}/24", "dev", "lan", host=name)
        stage.run("ip", "link", "set", "lan", "up", host=name)


def plug(stage: Stage, host: str, *, in_: bool) -> None:
    """Join a host to the network again, or take it away: nothing of it ends, and nothing reaches it.

    Args:
        stage: where it lives.
        host: its name.
        in_: True joins it.
    """
    stage.run("ip", "link", "set", host, "up" if in_ else "down", host=_SWITCH)
