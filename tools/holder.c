/*
 * holder.c - who holds a data directory, and where it listens.
 */
#include "tools/holder.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/net.h"

#define INODES_MAX   256
#define STATE_LISTEN 0x0a

static bool
read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return false;
    got = read(fd, text, size - 1);
    (void)close(fd);
    if (got < 0)
        return false;
    text[got] = '\0';
    return true;
}

static bool
is_server(pid_t pid)
{
    char path[64], name[64];

    (void)snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
    return read_text(path, name, sizeof name) && strncmp(name, "gneissd", 7) == 0;
}

/* Field 22 of /proc/PID/stat, in clock ticks since the machine started. */
static int64_t
uptime_secs(pid_t pid)
{
    char path[64], text[1024], machine[64];
    unsigned long long began = 0;
    const char *at;

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (!read_text(path, text, sizeof text) || !read_text("/proc/uptime", machine, sizeof machine))
        return 0;
    at = strrchr(text, ')'); /* the name before it may hold anything */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL)
        began = strtoull(at + 1, NULL, 10);
    return strtoll(machine, NULL, 10) - (int64_t)(began / (unsigned long long)sysconf(_SC_CLK_TCK));
}

/* Has somebody else locked this file or folder?  *found: it could be opened, or is not there. */
static bool
is_locked(const char *path, bool *found)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;

    *found = fd >= 0 || errno == ENOENT;
    if (fd >= 0)
        (void)close(fd);
    return locked;
}

bool
holder_find(const char *data_dir, struct holder *holder)
{
    char path[4200], text[32] = "";
    bool found, folder_found;

    memset(holder, 0, sizeof *holder);
    (void)snprintf(path, sizeof path, "%s/lock", data_dir);
    holder->held = is_locked(path, &found);
    if (is_locked(data_dir, &folder_found))
        holder->held = true;
    if (holder->held) {
        if (read_text(path, text, sizeof text))
            holder->pid = (pid_t)strtol(text, NULL, 10);
        if (holder->pid > 0) {
            holder->is_server = is_server(holder->pid);
            holder->uptime_secs = uptime_secs(holder->pid);
        }
    }
    return found && folder_found;
}

/* ---- sockets ---- */

static size_t
find_inodes(pid_t pid, uintmax_t *inode, size_t most)
{
    char path[64];
    size_t count = 0;
    struct dirent *entry;
    DIR *folder;

    (void)snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    folder = opendir(path);
    if (folder == NULL)
        return 0;
    while (count < most && (entry = readdir(folder)) != NULL) {
        char target[64];
        ssize_t size = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);

        if (size <= 0)
            continue;
        target[size] = '\0';
        if (sscanf(target, "socket:[%ju]", &inode[count]) == 1)
            count++;
    }
    (void)closedir(folder);
    return count;
}

static int
hex_value(char digit)
{
    return digit <= '9' ? digit - '0' : (toupper((unsigned char)digit) - 'A' + 10);
}

/* The kernel prints an address as words of the machine's order. */
static void
format_address(const char *hex, unsigned port, char address[HOLDER_ADDRESS_MAX])
{
    struct net_address made = { .size = 0 };
    uint8_t byte[16] = { 0 };
    size_t size = strlen(hex) / 2;

    for (size_t i = 0; i < size && i < sizeof byte; i++)
        byte[(i & ~(size_t)3) + 3 - (i & 3)] =
            (uint8_t)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
    if (size == 4) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

        memcpy(&in.sin_addr, byte, 4);
        memcpy(&made.storage, &in, sizeof in);
        made.size = sizeof in;
    } else {
        struct sockaddr_in6 in = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

        memcpy(&in.sin6_addr, byte, 16);
        memcpy(&made.storage, &in, sizeof in);
        made.size = sizeof in;
    }
    net_format(&made, address);
}

static unsigned
read_table(const char *path, const uintmax_t *inode, size_t inodes,
    char address[HOLDER_LISTENERS_MAX][HOLDER_ADDRESS_MAX], unsigned count)
{
    FILE *file = fopen(path, "re");
    char line[512];

    if (file == NULL)
        return count;
    while (count < HOLDER_LISTENERS_MAX && fgets(line, sizeof line, file) != NULL) {
        char hex[40];
        unsigned port, state;
        uintmax_t owner;

        if (sscanf(line, " %*[^:]: %39[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %ju", hex, &port,
                &state, &owner) != 4 ||
            state != STATE_LISTEN)
            continue;
        for (size_t i = 0; i < inodes; i++)
            if (inode[i] == owner) {
                format_address(hex, port, address[count++]);
                break;
            }
    }
    (void)fclose(file);
    return count;
}

unsigned
holder_listeners(pid_t pid, char address[HOLDER_LISTENERS_MAX][HOLDER_ADDRESS_MAX])
{
    uintmax_t inode[INODES_MAX];
    size_t inodes = find_inodes(pid, inode, INODES_MAX);
    unsigned count = read_table("/proc/net/tcp", inode, inodes, address, 0);

    return read_table("/proc/net/tcp6", inode, inodes, address, count);
}

uint64_t
holder_memory_kib(pid_t pid)
{
    char path[64], text[4096];
    const char *at;

    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    if (!read_text(path, text, sizeof text) || (at = strstr(text, "VmRSS:")) == NULL)
        return 0;
    return strtoull(at + 6, NULL, 10);
}
