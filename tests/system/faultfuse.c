/* A pass-through FUSE file system that misbehaves below everything: below the kernel's own repetitions,
 * the C library's and the interpreter's. Built and driven by faultfuse.py.
 *
 *     faultfuse BACKING MOUNTPOINT SEED
 *
 * Commands come as lines on standard input, each is answered by one line:
 *
 *     level P             each call goes wrong with probability P, in one of the ways of `ways` below
 *     only OP[,OP...]     ... but only these calls ("all": every one that has a way)
 *     once OP ERRNO HOW DELAY PART   the next call of OP on a path that contains PART goes wrong so
 *     counts              how often each way was taken: "op/ERRNO/how=N ..."
 *     wait                returns when no late call is left
 *
 * HOW: none (not executed), done (executed, the reply is lost), late (executed DELAY seconds after the
 * error), odd (no error: half of a read or write, a listing without one name). The end of the input
 * unmounts. A failed fsync loses what was written, as Linux drops pages that it could not write.
 */
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "faultfuse_plan.h"

/* A call that changes names, as it goes or as it goes wrong. */
static int change(enum op op, const char *path, const char *other, mode_t mode)
{
    struct way way;
    char *from = real(path), *to = other ? real(other) : NULL;
    int status;
    if (!fails(op, other ? other : path, &way))
        status = perform(op, from, to, mode);
    else {
        if (way.how == DONE)
            perform(op, from, to, mode);
        else if (way.how == LATE)
            later(op, from, to, way.delay);
        status = -way.error;
    }
    free(from);
    free(to);
    return status;
}

static int fs_getattr(const char *path, struct stat *found, struct fuse_file_info *fi)
{
    struct way way;
    if (fi)
        return fstat((int)fi->fh, found) < 0 ? -errno : 0;
    if (strcmp(path, "/") && fails(LOOKUP, path, &way))
        return -way.error;
    char *full = real(path);
    int status = lstat(full, found) < 0 ? -errno : 0;
    free(full);
    return status;
}

static int opened(const char *path, int flags, mode_t mode, struct fuse_file_info *fi)
{
    char *full = real(path);
    int fd = open(full, flags, mode);
    int error = errno;
    free(full);
    if (fd < 0)
        return -error;
    fi->fh = (uint64_t)fd;
    fi->direct_io = 1; /* each read and write comes here as it was made, and goes back as it was answered */
    return 0;
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    struct way way;
    if (!fails(CREATE, path, &way))
        return opened(path, fi->flags | O_CREAT, mode, fi);
    char *full = real(path);
    if (way.how == DONE)
        perform(CREATE, full, NULL, mode);
    else if (way.how == LATE)
        later(CREATE, full, NULL, way.delay);
    free(full);
    return -way.error;
}

static int fs_open(const char *path, struct fuse_file_info *fi)
{
    struct way way;
    return fails(OPEN, path, &way) ? -way.error : opened(path, fi->flags & ~(O_CREAT | O_EXCL), 0, fi);
}

static int fs_read(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct way way;
    if (fails(READ, path, &way)) {
        if (way.error)
            return -way.error;
        size = size > 1 ? size / 2 : size;
    }
    ssize_t got = pread((int)fi->fh, buffer, size, offset);
    return got < 0 ? -errno : (int)got;
}

static int fs_write(const char *path, const char *data, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct way way;
    if (fails(WRITE, path, &way)) {
        if (way.error)
            return -way.error;
        size = size > 1 ? size / 2 : size;
    }
    ssize_t put = pwrite((int)fi->fh, data, size, offset);
    return put < 0 ? -errno : (int)put;
}

static int fs_fsync(const char *path, int data_only, struct fuse_file_info *fi)
{
    struct way way;
    (void)data_only;
    if (!fails(FSYNC, path, &way))
        return 0;
    if (ftruncate((int)fi->fh, 0) < 0) /* what was not durable is gone, and nobody is told again */
        return -EIO;
    return -way.error;
}

static int fs_fsyncdir(const char *path, int data_only, struct fuse_file_info *fi)
{
    struct way way;
    (void)data_only, (void)fi;
    return fails(FSYNCDIR, path, &way) ? -way.error : 0;
}

static int fs_flush(const char *path, struct fuse_file_info *fi)
{
    struct way way;
    bool written = (fcntl((int)fi->fh, F_GETFL) & O_ACCMODE) != O_RDONLY;
    return written && fails(FLUSH, path, &way) ? -way.error : 0;
}

static int fs_release(const char *path, struct fuse_file_info *fi)
{
    (void)path;
    close((int)fi->fh);
    return 0;
}

static int fs_rename(const char *from, const char *to, unsigned int flags)
{
    return flags ? -EINVAL : change(RENAME, from, to, 0);
}

static int fs_unlink(const char *path) { return change(UNLINK, path, NULL, 0); }
static int fs_mkdir(const char *path, mode_t mode) { return change(MKDIR, path, NULL, mode); }
static int fs_rmdir(const char *path) { return change(RMDIR, path, NULL, 0); }

static int fs_link(const char *from, const char *to)
{
    (void)from, (void)to;
    return -EPERM;
}

static int fs_opendir(const char *path, struct fuse_file_info *fi)
{
    struct way way;
    return fails(OPEN, path, &way) ? -way.error : opened(path, O_RDONLY | O_DIRECTORY, 0, fi);
}

static int fs_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    struct way way = {0};
    bool struck = fails(LIST, path, &way);
    (void)offset, (void)fi, (void)flags;
    if (struck && way.error)
        return -way.error;
    char *full = real(path);
    DIR *dir = opendir(full);
    int error = errno;
    free(full);
    if (!dir)
        return -error;
    long count = 0, omitted = -1, at = 0;
    while (struck && readdir(dir))
        count++;
    if (count > 2) {
        pthread_mutex_lock(&lock);
        omitted = (long)(chance() * (double)count);
        pthread_mutex_unlock(&lock);
    }
    rewinddir(dir);
    for (struct dirent *entry; (entry = readdir(dir)); at++) {
        struct stat found = {.st_ino = entry->d_ino, .st_mode = (mode_t)(entry->d_type << 12)};
        if (at != omitted && fill(buffer, entry->d_name, &found, 0, 0))
            break;
    }
    closedir(dir);
    return 0;
}

static int fs_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
    (void)fi;
    char *full = real(path);
    int status = utimensat(AT_FDCWD, full, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    free(full);
    return status;
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    (void)fi;
    char *full = real(path);
    int status = chmod(full, mode) < 0 ? -errno : 0;
    free(full);
    return status;
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    (void)fi;
    char *full = real(path);
    int status = truncate(full, size) < 0 ? -errno : 0;
    free(full);
    return status;
}

static int fs_statfs(const char *path, struct statvfs *found)
{
    (void)path;
    return statvfs(backing, found) < 0 ? -errno : 0;
}

static void *fs_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    pthread_t thread;
    (void)connection;
    config->use_ino = 1;
    config->hard_remove = 1;
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    pthread_create(&thread, NULL, execute_late, NULL);
    return NULL;
}

static const struct fuse_operations operations = {
    .init = fs_init, .getattr = fs_getattr, .create = fs_create, .open = fs_open, .read = fs_read,
    .write = fs_write, .fsync = fs_fsync, .fsyncdir = fs_fsyncdir, .flush = fs_flush, .release = fs_release,
    .rename = fs_rename, .unlink = fs_unlink, .mkdir = fs_mkdir, .rmdir = fs_rmdir, .link = fs_link,
    .opendir = fs_opendir, .readdir = fs_readdir, .releasedir = fs_release, .utimens = fs_utimens,
    .chmod = fs_chmod, .truncate = fs_truncate, .statfs = fs_statfs};

#include "faultfuse_commands.h"

int main(int count, char **arguments)
{
    if (count != 4)
        return 64;
    backing = arguments[1];
    state = strtoull(arguments[3], NULL, 10);
    char *options[] = {arguments[0], "-o", "fsname=faultfuse,subtype=faultfuse"};
    struct fuse_args given = FUSE_ARGS_INIT(3, options);
    pthread_t thread;
    umask(0);
    handle = fuse_new(&given, &operations, sizeof operations, NULL);
    if (!handle || fuse_mount(handle, arguments[2]))
        return 71;
    pthread_create(&thread, NULL, obey, NULL);
    int status = fuse_loop_mt(handle, 0);
    return status ? 70 : 0;
}
