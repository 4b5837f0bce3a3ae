/* The commands of faultfuse.c, which includes this: one line in, one line out. */

static int error_number(const char *name)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (!strcmp(errors[i].name, name))
            return errors[i].number;
    return -1;
}

static const char *error_name(int number)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].number == number)
            return errors[i].name;
    return "?";
}

static int index_of(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static bool choose(char *list)
{
    bool chosen[OPS] = {false};
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        int op = index_of(name, op_names, OPS);
        if (!strcmp(name, "all"))
            memset(chosen, true, sizeof chosen);
        else if (op < 0)
            return false;
        else
            chosen[op] = true;
    }
    pthread_mutex_lock(&lock);
    memcpy(wanted, chosen, sizeof wanted);
    pthread_mutex_unlock(&lock);
    return true;
}

static bool add_rule(const char *line)
{
    char op[16], error[16], how[16], part[256] = "";
    double delay = 0;
    if (sscanf(line, "once %15s %15s %15s %lf %255s", op, error, how, &delay, part) < 4)
        return false;
    struct rule *rule = calloc(1, sizeof *rule), **end = &rules;
    int which = index_of(op, op_names, OPS), effect = index_of(how, how_names, 4);
    rule->way = (struct way){(enum op)which, error_number(error), (enum how)effect, delay, 0};
    strcpy(rule->part, part);
    if (which < 0 || effect < 0 || rule->way.error < 0) {
        free(rule);
        return false;
    }
    pthread_mutex_lock(&lock);
    while (*end)
        end = &(*end)->next;
    *end = rule;
    pthread_mutex_unlock(&lock);
    return true;
}

static void print_counts(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < WAYS; i++)
        if (ways[i].taken)
            printf("%s/%s/%s=%ld ", op_names[ways[i].op], error_name(ways[i].error), how_names[ways[i].how],
                   ways[i].taken);
    pthread_mutex_unlock(&lock);
    printf("\n");
}

static void wait_for_late_calls(void)
{
    pthread_mutex_lock(&lock);
    while (lates || running_late)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
}

static void *obey(void *unused)
{
    char line[1024];
    (void)unused;
    choose((char[]){"all"});
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        bool good = true;
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "level ", 6)) {
            pthread_mutex_lock(&lock);
            level = atof(line + 6);
            pthread_mutex_unlock(&lock);
        } else if (!strncmp(line, "only ", 5))
            good = choose(line + 5);
        else if (!strncmp(line, "once ", 5))
            good = add_rule(line);
        else if (!strcmp(line, "wait"))
            wait_for_late_calls();
        else if (!strcmp(line, "counts"))
            print_counts();
        else
            good = false;
        if (strcmp(line, "counts") || !good)
            printf(good ? "ok\n" : "what?\n");
        fflush(stdout);
    }
    fuse_unmount(handle);
    _exit(0); /* who still has a file open gets ENOTCONN */
}
