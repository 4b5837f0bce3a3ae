#!/bin/sh
# The gate: mounts the mail a second time, as another host would see it, and probes it by both mounts.
# Ends with 0 if two hosts may share a queue there; what it measured is stored for the queue.
set -eu
second=$(mktemp -d)
trap 'umount "$second"; rmdir "$second"' EXIT
mount -t "$(findmnt -no FSTYPE /srv/mail | sed 's/^fuse\.//')" -o "${GATE_OPTIONS:-defaults}" \
    "$(findmnt -no SOURCE /srv/mail)" "$second"
maildir-safe probe /srv/mail --second "$second" --save
