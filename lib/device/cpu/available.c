#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/cpu/machine.h"

/*
 * What is left of the machine's memory. A container sees the whole machine in /proc/meminfo; what
 * it may take of it is in the files of its control group, and of those around it.
 */
enum { FILE_SIZE = 16384 };

typedef struct layout { /* of a version of control groups */
	const char *mount, *limit, *usage, *file_cache;
} layout;

static const layout versions[] = {
	{ "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file " },
	{ "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
	  "total_inactive_file " },
};

/* The text of root, folder and name put together; false: there is none. */
static bool read_file(char text[FILE_SIZE], const char *root, const char *folder, const char *name)
{
	char path[PATH_MAX];
	size_t len = 0;
	ssize_t got;
	int fd;

	if (snprintf(path, sizeof path, "%s%s/%s", root, folder, name) >= (int)sizeof path)
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while (len < FILE_SIZE - 1 && (got = read(fd, text + len, FILE_SIZE - 1 - len)) > 0)
		len += (size_t)got;
	text[len] = '\0';
	close(fd);
	return len > 0;
}

/* The number behind a name that begins a line; below 0: there is none. */
static int64_t number_of(const char *text, const char *name)
{
	const char *line = text;
	char *end;

	while (line && strncmp(line, name, strlen(name)) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return -1;
	line += strlen(name);
	long long number = strtoll(line, &end, 10);
	return end == line ? -1 : number;
}

/* What one group may still take. Pages of files that nobody reads any more give way. */
static int64_t left_of_group(const char *root, const layout *v, const char *folder)
{
	char text[FILE_SIZE];
	int64_t limit = -1, usage = -1, cache = -1;

	if (read_file(text, root, folder, v->limit))
		limit = number_of(text, ""); /* "max": none */
	if (limit >= 0 && read_file(text, root, folder, v->usage))
		usage = number_of(text, "");
	if (usage >= 0 && read_file(text, root, folder, "memory.stat"))
		cache = number_of(text, v->file_cache);
	if (usage < 0)
		return INT64_MAX;
	usage -= cache > 0 ? cache : 0;
	return usage < limit ? limit - usage : 0;
}

/* The group at path, and all around it. In a container the path may be that of the machine: what is
 * not there sets no limit, and the container's own group is the mount itself. */
static int64_t left_of_groups(const char *root, const layout *v, const char *path)
{
	char folder[PATH_MAX];
	size_t mount = strlen(v->mount);
	int64_t least = INT64_MAX;
	char *cut;

	if (snprintf(folder, sizeof folder, "%s%s", v->mount, path) >= (int)sizeof folder)
		return least;
	do {
		int64_t left = left_of_group(root, v, folder);

		least = left < least ? left : least;
		cut = strlen(folder) > mount ? strrchr(folder, '/') : NULL;
		if (cut)
			*cut = '\0';
	} while (cut);
	return least;
}

/* A line of /proc/self/cgroup: "0::/a/b" of version 2, "4:cpu,memory:/a/b" of version 1. */
static int64_t left_by_line(const char *root, char *line)
{
	char *kinds = strchr(line, ':'), *path = kinds ? strchr(kinds + 1, ':') : NULL, *rest,
	     *kind;

	if (!path)
		return INT64_MAX;
	*path++ = '\0';
	if (path[0] == '/' && path[1] == '\0')
		path++;
	if (kinds[1] == '\0')
		return left_of_groups(root, &versions[0], path);
	for (kind = strtok_r(kinds + 1, ",", &rest); kind; kind = strtok_r(NULL, ",", &rest))
		if (strcmp(kind, "memory") == 0)
			return left_of_groups(root, &versions[1], path);
	return INT64_MAX;
}

int64_t gh__cpu_available(const char *root)
{
	char text[FILE_SIZE], *rest, *line;
	int64_t least = -1, left;

	if (read_file(text, root, "/proc", "meminfo"))
		least = number_of(text, "MemAvailable:");
	if (least < 0 || least > INT64_MAX / 1024)
		return 0;
	least *= 1024;
	if (!read_file(text, root, "/proc/self", "cgroup"))
		return least;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		left = left_by_line(root, line);
		least = left < least ? left : least;
	}
	return least;
}
