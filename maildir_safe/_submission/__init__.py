"""Mail that programs on this machine submit by `sendmail` or `qmail-queue`, before it is queued."""
