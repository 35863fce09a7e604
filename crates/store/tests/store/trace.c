/* Put before the C library by a test: writes down, line by line, what is created, written, cut, renamed and synced, and
 * in what order. While the file TASKD_TRACE_FAIL names is there, no sync of a log succeeds. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_log(const char *path) {
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, "-wal") == 0;
}

static void note(const char *what, const char *path) {
    const char *trace = getenv("TASKD_TRACE");
    char line[2 * PATH_MAX];
    int before = errno;
    if (trace == NULL || strcmp(path, trace) == 0) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    if (fd < 0 || syscall(SYS_write, fd, line, (size_t)length) != length) abort();
    syscall(SYS_close, fd);
    errno = before;
}

/* Writes the path of a file of the file system to `path`; false for anything else. */
static int named(int fd, char path[PATH_MAX]) {
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    errno = before;
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/dev/", 5) != 0;
}

static void note_file(const char *what, int fd) {
    char path[PATH_MAX];
    if (named(fd, path)) note(what, path);
}

static int sync_fails(int fd) {
    const char *fail = getenv("TASKD_TRACE_FAIL");
    char path[PATH_MAX];
    if (fail == NULL || !named(fd, path) || !is_log(path) || faccessat(AT_FDCWD, fail, F_OK, 0) != 0) return 0;
    note("failed", path);
    errno = EIO;
    return 1;
}

int fsync(int fd) {
    if (sync_fails(fd)) return -1;
    int done = NEXT(fsync)(fd);
    note_file("sync", fd);
    return done;
}

int fdatasync(int fd) {
    if (sync_fails(fd)) return -1;
    int done = NEXT(fdatasync)(fd);
    note_file("sync", fd);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    note_file("write", fd);
    return NEXT(write)(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    note_file("write", fd);
    return NEXT(pwrite)(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    note_file("write", fd);
    return NEXT(pwrite64)(fd, bytes, count, at);
}

int ftruncate(int fd, off_t length) {
    note_file("cut", fd);
    return NEXT(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    note_file("cut", fd);
    return NEXT(ftruncate64)(fd, length);
}

int rename(const char *from, const char *to) {
    note("rename", to);
    return NEXT(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    int done = NEXT(mkdir)(path, mode);
    char real[PATH_MAX];
    if (done == 0 && realpath(path, real) != NULL) note("create", real);
    return done;
}

static void note_open(const char *path, int flags) {
    int before = errno;
    if ((flags & O_CREAT) && faccessat(AT_FDCWD, path, F_OK, 0) != 0) note("create", path);
    errno = before;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;
    va_end(more);
    note_open(path, flags);
    return NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;
    va_end(more);
    note_open(path, flags);
    return NEXT(open64)(path, flags, mode);
}
