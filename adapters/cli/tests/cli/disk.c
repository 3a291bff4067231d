/* A bad disk, for a process that is started with it (LD_PRELOAD): whatever is under DISK_DIR
 * behaves as DISK says: `full`, `read-only` or `lockless`. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is(const char *kind) {
    const char *disk = getenv("DISK");
    return disk && strcmp(disk, kind) == 0;
}

static int is_there(const char *path) {
    const char *dir = getenv("DISK_DIR");
    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static int holds(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_there(path);
}

static long fails(int reason) {
    errno = reason;
    return -1;
}

ssize_t write(int file, const void *bytes, size_t count) {
    if (is("full") && holds(file))
        return fails(ENOSPC);
    return syscall(SYS_write, file, bytes, count);
}

int flock(int file, int how) {
    if (is("lockless") && holds(file))
        return fails(ENOLCK);
    return syscall(SYS_flock, file, how);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (is("read-only") && is_there(path) && flags & (O_WRONLY | O_RDWR | O_CREAT))
        return fails(EROFS);
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
