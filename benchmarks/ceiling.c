/* The six calls of a durable delivery, and nothing else. Loaded by ceiling.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Deliver `count` messages of `length` bytes from tmp_fd into new_fd; 0, or the errno of the call that failed. */
int six_calls(int tmp_fd, int new_fd, const char *const *messages, size_t length, int count)
{
    char name[32];

    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%d.ceiling", i);
        int fd = openat(tmp_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return errno;
        errno = EIO; /* for a short write */
        if (write(fd, messages[i], length) != (ssize_t)length || fsync(fd) || close(fd))
            return errno;
        if (renameat(tmp_fd, name, new_fd, name) || fsync(new_fd))
            return errno;
    }
    return 0;
}
