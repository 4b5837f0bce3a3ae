"""A server that root starts binds its ports, and is then another user for good."""

from __future__ import annotations

import grp
import os
import pwd


def become(user: str, group: str = "") -> None:
    """Give up root's rights, in all threads and for all processes that are started later. HOME is the user's.

    Args:
        user: who this process becomes, by name or number; ``""``: nothing is done.
        group: its group, by name or number; ``""``: the user's own. The user's other groups are added.

    Raises:
        ValueError: there is no such user or group, the user is root, or this process is not root.
        OSError: the kernel refuses.
    """
    if not user:
        return
    if os.geteuid() != 0:
        raise ValueError("user: only root can become another user; start as root, or leave it out")
    try:
        found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        raise ValueError(f"user: there is no user {user}") from None
    if found.pw_uid == 0:
        raise ValueError(f"user: {user} is root; name a user without rights")
    gid = _group(group) if group else found.pw_gid
    os.initgroups(found.pw_name, gid)
    os.setresgid(gid, gid, gid)
    os.environ["HOME"] = found.pw_dir
    os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)  # last: with it all capabilities go


def _group(group: str) -> int:
    try:
        return int(grp.getgrgid(int(group)).gr_gid if group.isdecimal() else grp.getgrnam(group).gr_gid)
    except KeyError:
        raise ValueError(f"group: there is no group {group}") from None
