/* Preloaded into the processes of test_power_loss.py: records, in one log for all of them, what is
 * written to the files of a store and when they are synced. The log is appended to in single calls,
 * so it is one order for all processes. A write is in it before its call returns; a sync is in it
 * twice, before it begins and after it has succeeded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    char op, file;      /* W write, T truncate, B begin of a sync, E its end; d database, w log */
    char unused[6];
    uint64_t number;    /* of a sync: the same at its begin and end */
    int64_t offset, length;
};

static int record_fd = -1;
static uint32_t syncs;

__attribute__((constructor)) static void start(void) {
    const char *name = getenv("FASTIO_TEST_RECORD");
    if (name) record_fd = open(name, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static int ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static char file_of(int fd) {
    char link[32], path[4096];
    if (record_fd < 0 || fd == record_fd) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return ends_with(path, "/store.sqlite") ? 'd' : ends_with(path, "/store.sqlite-wal") ? 'w' : 0;
}

static void note(char op, char file, uint64_t number, int64_t offset, const void *data, int64_t n) {
    struct record r = {op, file, {0}, number, offset, n};
    struct iovec parts[2] = {{&r, sizeof r}, {(void *)data, data ? (size_t)n : 0}};
    if (writev(record_fd, parts, 2) < 0) abort();
}

#define REAL(name, result, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define WRITE(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t n, offset_type offset) { \
        REAL(#name, ssize_t, int, const void *, size_t, offset_type); \
        ssize_t done = real(fd, data, n, offset); \
        char file = file_of(fd); \
        if (done > 0 && file) note('W', file, 0, offset, data, done); \
        return done; \
    }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

#define TRUNCATE(name, offset_type) \
    int name(int fd, offset_type size) { \
        REAL(#name, int, int, offset_type); \
        int failed = real(fd, size); \
        char file = file_of(fd); \
        if (!failed && file) note('T', file, 0, size, NULL, 0); \
        return failed; \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
    int name(int fd) { \
        REAL(#name, int, int); \
        char file = file_of(fd); \
        uint64_t number = 0; \
        if (file) { \
            number = (uint64_t)getpid() << 32 | __atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED); \
            note('B', file, number, 0, NULL, 0); \
        } \
        int failed = real(fd); \
        if (!failed && file) note('E', file, number, 0, NULL, 0); \
        return failed; \
    }
SYNC(fsync)
SYNC(fdatasync)
