/* Which call goes wrong and how, and the calls that are executed later; included by faultfuse.c. */

enum op { CREATE, OPEN, READ, WRITE, FSYNC, FSYNCDIR, FLUSH, RENAME, UNLINK, MKDIR, RMDIR, LOOKUP, LIST, OPS };
enum how { NONE, DONE, LATE, ODD };

static const char *op_names[] = {"create", "open",   "read",  "write", "fsync",  "fsyncdir", "flush",
                                 "rename", "unlink", "mkdir", "rmdir", "lookup", "list"};
static const char *how_names[] = {"none", "done", "late", "odd"};
static const struct { const char *name; int number; } errors[] = {
    {"0", 0}, {"EINTR", EINTR}, {"EAGAIN", EAGAIN}, {"ESTALE", ESTALE}, {"EIO", EIO}, {"ENOENT", ENOENT},
    {"EEXIST", EEXIST}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"ETIMEDOUT", ETIMEDOUT}};

struct way { enum op op; int error; enum how how; double delay; long taken; };

static struct way ways[] = {
    {CREATE, EINTR, NONE}, {CREATE, EINTR, LATE, 3.0}, {CREATE, ESTALE, NONE}, {CREATE, ESTALE, LATE, 3.0},
    {CREATE, EIO, NONE}, {CREATE, EIO, DONE}, {CREATE, EIO, LATE, 1.0}, {CREATE, ENOSPC, NONE},
    {OPEN, EINTR, NONE}, {OPEN, ESTALE, NONE}, {OPEN, EIO, NONE}, {OPEN, ENOENT, NONE},
    {READ, EAGAIN, NONE}, {READ, EINTR, NONE}, {READ, EIO, NONE}, {READ, ESTALE, NONE}, {READ, 0, ODD},
    {WRITE, EINTR, NONE}, {WRITE, EIO, NONE}, {WRITE, ENOSPC, NONE}, {WRITE, 0, ODD},
    {FSYNC, EINTR, NONE}, {FSYNC, EIO, NONE}, {FSYNC, EDQUOT, NONE},
    {FSYNCDIR, EINTR, NONE}, {FSYNCDIR, EIO, NONE},
    {FLUSH, EIO, NONE}, {FLUSH, EDQUOT, NONE}, {FLUSH, EINTR, NONE},
    {RENAME, EIO, NONE}, {RENAME, EIO, DONE}, {RENAME, EIO, LATE, 4.0}, {RENAME, ENOENT, DONE},
    {RENAME, ESTALE, NONE}, {RENAME, ESTALE, DONE}, {RENAME, EINTR, NONE}, {RENAME, ETIMEDOUT, LATE, 0.5},
    {UNLINK, EIO, NONE}, {UNLINK, EIO, DONE}, {UNLINK, EIO, LATE, 2.0}, {UNLINK, ENOENT, DONE},
    {UNLINK, ESTALE, NONE}, {UNLINK, EINTR, NONE},
    {MKDIR, EIO, NONE}, {MKDIR, EIO, DONE}, {MKDIR, EEXIST, NONE}, {MKDIR, EINTR, NONE},
    {RMDIR, EIO, NONE}, {RMDIR, EIO, DONE}, {RMDIR, ENOENT, DONE},
    {LOOKUP, ENOENT, NONE}, {LOOKUP, EIO, NONE}, {LOOKUP, ESTALE, NONE}, {LOOKUP, EINTR, NONE},
    {LIST, 0, ODD}, {LIST, EIO, NONE}, {LIST, EINTR, NONE}, {LIST, ESTALE, NONE}};
enum { WAYS = sizeof ways / sizeof *ways };

struct late { struct late *next; struct timespec at; enum op op; char *from, *to; };
struct rule { struct rule *next; struct way way; char part[256]; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static struct late *lates;
static int running_late;
static struct rule *rules;
static double level;
static bool wanted[OPS];
static uint64_t state;
static const char *backing;
static struct fuse *handle;

static double chance(void) /* splitmix64; `lock` is held */
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static char *real(const char *path)
{
    char *full;
    if (asprintf(&full, "%s%s", backing, path) < 0)
        abort();
    return full;
}

/* Which way this call goes wrong; false: it does not. */
static bool fails(enum op op, const char *path, struct way *found)
{
    bool struck = false;
    pthread_mutex_lock(&lock);
    for (struct rule **rule = &rules; *rule; rule = &(*rule)->next)
        if ((*rule)->way.op == op && strstr(path, (*rule)->part)) {
            struct rule *used = *rule;
            *found = used->way;
            *rule = used->next;
            free(used);
            struck = true;
            break;
        }
    if (!struck && wanted[op] && level > 0 && chance() < level) {
        int count = 0, pick;
        for (int i = 0; i < WAYS; i++)
            count += ways[i].op == op;
        pick = (int)(chance() * count);
        for (int i = 0; i < WAYS && !struck; i++)
            if (ways[i].op == op && pick-- == 0) {
                *found = ways[i];
                struck = true;
            }
    }
    if (struck)
        for (int i = 0; i < WAYS; i++)
            if (ways[i].op == op && ways[i].error == found->error && ways[i].how == found->how) {
                ways[i].taken++;
                break;
            }
    pthread_mutex_unlock(&lock);
    return struck;
}

static int perform(enum op op, const char *from, const char *to, mode_t mode)
{
    int fd, status;
    switch (op) {
    case CREATE:
        fd = open(from, O_WRONLY | O_CREAT | O_EXCL, mode);
        if (fd >= 0)
            close(fd);
        return fd < 0 ? -errno : 0;
    case RENAME: status = rename(from, to); break;
    case UNLINK: status = unlink(from); break;
    case MKDIR: status = mkdir(from, mode); break;
    case RMDIR: status = rmdir(from); break;
    default: return -ENOSYS;
    }
    return status < 0 ? -errno : 0;
}

static void later(enum op op, const char *from, const char *to, double delay)
{
    struct late *late = calloc(1, sizeof *late);
    clock_gettime(CLOCK_REALTIME, &late->at);
    late->at.tv_sec += (time_t)delay;
    late->at.tv_nsec += (long)((delay - (double)(time_t)delay) * 1e9);
    if (late->at.tv_nsec >= 1000000000) {
        late->at.tv_sec++;
        late->at.tv_nsec -= 1000000000;
    }
    late->op = op;
    late->from = strdup(from);
    late->to = to ? strdup(to) : NULL;
    pthread_mutex_lock(&lock);
    struct late **at = &lates;
    while (*at && ((*at)->at.tv_sec < late->at.tv_sec ||
                   ((*at)->at.tv_sec == late->at.tv_sec && (*at)->at.tv_nsec <= late->at.tv_nsec)))
        at = &(*at)->next;
    late->next = *at;
    *at = late;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void *execute_late(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct timespec now;
        while (!lates)
            pthread_cond_wait(&moved, &lock);
        clock_gettime(CLOCK_REALTIME, &now);
        struct late *due = lates;
        if (now.tv_sec < due->at.tv_sec || (now.tv_sec == due->at.tv_sec && now.tv_nsec < due->at.tv_nsec)) {
            struct timespec until = due->at;
            pthread_cond_timedwait(&moved, &lock, &until);
            continue;
        }
        lates = due->next;
        running_late++;
        pthread_mutex_unlock(&lock);
        perform(due->op, due->from, due->to, 0600);
        free(due->from);
        free(due->to);
        free(due);
        pthread_mutex_lock(&lock);
        running_late--;
        pthread_cond_broadcast(&moved);
    }
    return NULL;
}
