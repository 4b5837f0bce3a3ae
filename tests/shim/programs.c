/* What programs that hand mail over by link() and unlink() do, pattern by pattern.
 *
 *   programs local MAILDIR          qmail-local: tmp/ -> new/; exit 0, or 111 to be tried again
 *   programs queue QUEUE            qmail-queue: pid/ -> mess/N/, intd/ -> todo/; exit 0, 63, 64, 66
 *   programs lock FILE ROUNDS       a dot lock by link() inside one directory, with a check of nlink
 *   programs crowd MAILDIR N        N threads, each delivers one message as qmail-local does
 *   programs shower MAILDIR N RESTART USEC  N deliveries under a shower of SIGALRM, with or without SA_RESTART
 *   programs twice MAILDIR          unlinks the old name twice; then makes it again and removes it
 *   programs names SRC DST          one link(), and prints its errno; then unlink(), and its errno
 *   programs swap MAILDIR WHAT ROOT hands over tmp/0 to tmp/49 while a thread swaps what the names mean
 *   programs again SRC DST          names, where a second process has asked for the unlink
 *
 * The message is read from standard input. Exit codes and the order of the calls are those of qmail.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char message[1 << 16];
static size_t length;

static void read_message(void)
{
    ssize_t got;
    while (length < sizeof message && (got = read(0, message + length, sizeof message - length)) > 0)
        length += got;
}

static int write_all(int fd)
{
    size_t done = 0;
    while (done < length) {
        ssize_t put = write(fd, message + done, length - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        done += put;
    }
    return fsync(fd);
}

static int create(const char *name)
{
    int fd;
    while ((fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600)) < 0 && errno == EINTR)
        ;
    return fd;
}

/* qmail-local's child: 0 done, 1 not; the working directory is the Maildir */
static int deliver(int number)
{
    char tmp[128], new[128];
    int fd;
    snprintf(tmp, sizeof tmp, "tmp/%ld.%ld_%d.host", (long)time(0), (long)getpid(), number);
    snprintf(new, sizeof new, "new/%s", tmp + 4);
    fd = create(tmp);
    if (fd < 0)
        return 1;
    if (write_all(fd) || close(fd) || link(tmp, new)) {
        unlink(tmp);
        return 1;
    }
    unlink(tmp);
    return 0;
}

static int queue(const char *directory)
{
    char pid[64], mess[64], intd[64], todo[64];
    struct stat found;
    int fd, messfd;
    if (chdir(directory))
        return 62;
    snprintf(pid, sizeof pid, "pid/%ld.%ld.1", (long)getpid(), (long)time(0));
    messfd = create(pid);
    if (messfd < 0 || fstat(messfd, &found))
        return 63;
    snprintf(mess, sizeof mess, "mess/%lu/%lu", (unsigned long)found.st_ino % 23, (unsigned long)found.st_ino);
    snprintf(intd, sizeof intd, "intd/%lu", (unsigned long)found.st_ino);
    snprintf(todo, sizeof todo, "todo/%lu", (unsigned long)found.st_ino);
    if (link(pid, mess))
        return 64;
    if (unlink(pid))
        return 63;
    if (write_all(messfd)) {
        unlink(mess);
        return 53;
    }
    fd = create(intd);
    if (fd < 0) {
        unlink(mess);
        return 65;
    }
    length = snprintf(message, sizeof message, "u0%cp1%cFa@example.org%cTb@example.org%c", 0, 0, 0, 0);
    if (write_all(fd) || link(intd, todo)) {
        unlink(intd);
        unlink(mess);
        return 66;
    }
    return 0;
}

/* a lock as liblockfile and mutt take it; 0 taken */
static int take_lock(const char *lock)
{
    char mine[512];
    struct stat found;
    int fd, ok;
    snprintf(mine, sizeof mine, "%s.%ld", lock, (long)getpid());
    fd = create(mine);
    if (fd < 0)
        return 1;
    close(fd);
    ok = link(mine, lock) == 0 || (stat(mine, &found) == 0 && found.st_nlink == 2);
    unlink(mine);
    return ok ? 0 : 1;
}

/* both contenders count in one file; who finds it changed was not alone. 0, 1: never got it, 2: both had it */
static int lock_rounds(const char *lock, int rounds)
{
    char counter[512], text[32];
    int done = 0, tries = 0;
    snprintf(counter, sizeof counter, "%s.holder", lock);
    while (done < rounds) {
        int fd;
        if (take_lock(lock)) {
            if (++tries > 200 && !done && access(lock, F_OK))
                return 1;
            usleep(50);
            continue;
        }
        fd = open(counter, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0)
            return 2;
        snprintf(text, sizeof text, "%ld", (long)getpid());
        if (write(fd, text, strlen(text)) < 0)
            return 3;
        close(fd);
        unlink(counter);
        unlink(lock);
        done++;
    }
    return 0;
}

static void *in_thread(void *number)
{
    return (void *)(long)deliver((int)(long)number);
}

static int crowd(int count)
{
    pthread_t threads[256];
    long failed = 0;
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], 0, in_thread, (void *)(long)i))
            return 2;
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failed += (long)result;
    }
    return failed ? 1 : 0;
}

static void ignore(int number)
{
    (void)number;
}

/* a program that repeats what was interrupted; counts what it was told */
static int shower(int count, int restart, int usec)
{
    struct sigaction action = { .sa_handler = ignore, .sa_flags = restart ? SA_RESTART : 0 };
    struct itimerval often = { { 0, usec }, { 0, usec } };
    int done = 0, interrupted = 0;
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
    for (int i = 0; i < count; i++) {
        char tmp[128], new[128];
        int fd, result;
        snprintf(tmp, sizeof tmp, "tmp/%ld.%d", (long)getpid(), i);
        snprintf(new, sizeof new, "new/%ld.%d", (long)getpid(), i);
        fd = create(tmp);
        if (fd < 0 || write_all(fd))
            return 2;
        close(fd);
        while ((result = link(tmp, new)) && errno == EINTR)
            interrupted++;
        if (result) {
            fprintf(stderr, "link %d: %s\n", i, strerror(errno));
            continue;
        }
        while ((result = unlink(tmp)) && errno == EINTR)
            interrupted++;
        if (result) {
            fprintf(stderr, "unlink %d: %s\n", i, strerror(errno));
            continue;
        }
        done++;
    }
    printf("%d %d\n", done, interrupted);
    return done == count ? 0 : 1;
}

static int twice(void)
{
    int fd, first, second, third;
    fd = create("tmp/x");
    if (fd < 0 || write_all(fd) || close(fd))
        return 2;
    if (link("tmp/x", "new/x"))
        return 1;
    first = unlink("tmp/x") ? errno : 0;
    second = unlink("tmp/x") ? errno : 0;
    close(create("tmp/x"));
    third = unlink("tmp/x") ? errno : 0;
    printf("%d %d %d %d\n", first, second, third, access("tmp/x", F_OK) ? errno : 0);
    return 0;
}

static int names(const char *src, const char *dst)
{
    int linked = link(src, dst) ? errno : 0;
    int unlinked = unlink(src) ? errno : 0;
    printf("%d %d\n", linked, unlinked);
    return 0;
}

static volatile int stop;
static char source[512];
static const char *victim;

static void *swap_directory(void *unused)
{
    (void)unused;
    while (!stop) {
        rename("tmp", "aside");
        rename("evil", "tmp");
        rename("tmp", "evil");
        rename("aside", "tmp");
    }
    return 0;
}

static void *swap_memory(void *unused)
{
    char own[512];
    (void)unused;
    strcpy(own, source);
    while (!stop) {
        snprintf(source, sizeof source, "%s/tmp/0", victim);
        strcpy(source, own);
    }
    return 0;
}

static int swap(const char *what, const char *root)
{
    int memory = !strcmp(what, "memory"), linked = 0;
    time_t until = time(0) + 3;
    pthread_t thread;
    char new[128];
    victim = root;
    strcpy(source, "tmp/0");
    if (pthread_create(&thread, 0, memory ? swap_memory : swap_directory, 0))
        return 2;
    for (int round = 0; time(0) < until; round++) {
        if (!memory)
            snprintf(source, sizeof source, "tmp/%d", round % 50);
        snprintf(new, sizeof new, "new/%d.%d", round % 50, round);
        if (link(source, new) == 0) {
            linked++;
            unlink(source);
            rename(new, memory ? "tmp/0" : source); /* back again, for the next round */
        }
    }
    stop = 1;
    pthread_join(thread, 0);
    printf("%d\n", linked);
    return 0;
}

static int again(const char *src, const char *dst)
{
    int linked = link(src, dst) ? errno : 0;
    int theirs = 0, mine;
    pid_t child = fork();
    if (!child) {
        setsid();
        child = fork(); /* a grandchild, whose parent has ended: no relative any more */
        if (child)
            _exit(0);
        usleep(100000);
        _exit(unlink(src) ? errno : 0);
    }
    waitpid(child, &theirs, 0);
    usleep(300000);
    mine = unlink(src) ? errno : 0;
    printf("%d %d\n", linked, mine);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (argc < 3)
        return 100;
    if (!strcmp(what, "lock"))
        return lock_rounds(argv[2], atoi(argv[3]));
    if (!strcmp(what, "names"))
        return names(argv[2], argv[3]);
    if (!strcmp(what, "swap"))
        return chdir(argv[2]) ? 2 : swap(argv[3], argv[4]);
    if (!strcmp(what, "again"))
        return again(argv[2], argv[3]);
    read_message();
    if (!strcmp(what, "queue"))
        return queue(argv[2]);
    if (chdir(argv[2]))
        return 111;
    if (!strcmp(what, "local"))
        return deliver(0) ? 111 : 0;
    if (!strcmp(what, "crowd"))
        return crowd(atoi(argv[3]));
    if (!strcmp(what, "shower"))
        return shower(atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    if (!strcmp(what, "twice"))
        return twice();
    return 100;
}
