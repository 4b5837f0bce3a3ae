"""A simulated file system, for testing mail code against crashes, lost replies and other hosts.

    server = SimServer("nfs3")
    host = SimHost(server, faults=[Fault("rename", errno.EIO, "done")])
    Maildir("/mail", fs=host)            # anything that takes a `maildir_safe._fs.FileSystem`

`SimServer` holds the files. `SimHost` is one machine that uses them, and is a `FileSystem`. Nothing
here reads a real clock, a real file or real randomness: the same calls always give the same result.

The fault model, in words
-------------------------

*Crash.* At any moment between two file calls everything may lose power. What was made durable
stays; of the rest, any subset stays that the mode allows (`simdisk`): ``ordered``, ``atomic``
or ``weak``. Of a file not synced, the old contents, the first half of the new or all of the new
stay; under ``weak`` also zeros, and each write is kept, zeroed or torn on its own.
`SimServer.crashed` gives the files as they are found afterwards, on a new server, so that one
run can be crashed at every call and in every way.

*Faults* (`simfaults.Fault`). The n-th call of a kind gives an errno and was not executed; was
executed, and only the reply was lost; or is executed later, after the error was reported. A
failed fsync or close drops what was not yet durable, for good, and the next fsync of the same
file succeeds and says nothing. A write or a read may take half; a read may say EAGAIN. A listing may
miss a name. A rename may be executed and leave its old name as a second name of the file.

*Automatic repetition.* After ESTALE the kernel repeats a call with a name once. After EINTR CPython
repeats most calls, `os.fsync` included, with the same name and file and unseen by the caller. A create
that is executed late may thus recreate a name that was renamed in the meantime.
A rename from one name of a file to another name of it succeeds and does nothing.

*Remount* (`SimServer.remount`). The path leads elsewhere; open descriptors still lead to the detached tree.

*Held directories* (profile `coda`). A directory that any process of a host has open is not fetched
again after another host changed it: EIO or ETOOMANYREFS until all of them have closed it.

*Several hosts.* Each has its own caches of names, absent names, attributes and listings, with
the times of the profile, and its own clock. It sees its own changes at once. A call that
failed leaves the caches as they were: the name that a rename was to make is remembered as
absent, as Linux does for NFS. Under profiles with `write_back` (Coda, rclone) a host works on
its own copy, which reaches the server later; fsync does nothing there, two hosts may both win,
and the second client has a conflict that stops all its later changes.

*Partition* (`SimHost.partitioned`). Calls fail with ETIMEDOUT, not executed; under `write_back`
they succeed and wait for the end of the partition.

*A replica that was down* (`SimServer.replica_down`, `replica_up`; Coda). Directories renamed
across while it was down are resolved when next looked at: the source directory must be looked
at before the destination, otherwise both become dangling links (docs/reference/file-systems.md, "Coda").

Not modelled: bit rot, a disk that lies about flushes, reordered replies of one host (a host
makes one call at a time), more than one server.
"""

from __future__ import annotations

from maildir_safe.testing.simcrash import Choice, Mode
from maildir_safe.testing.simdisk import Disk
from maildir_safe.testing.simfaults import LOST_REPLY, PROFILES, Fault, Profile
from maildir_safe.testing.simhost import SimHost
from maildir_safe.testing.simposix import redirected
from maildir_safe.testing.simsched import interleave
from maildir_safe.testing.simserver import Call, HostDied, SimServer

__all__ = [
    "LOST_REPLY", "PROFILES", "Call", "Choice", "Disk", "Fault", "HostDied", "Mode", "Profile", "SimHost",
    "SimServer", "interleave", "redirected",
]  # fmt: skip
