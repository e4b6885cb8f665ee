#include "inference_node/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"

#define PREFIX "gonkahost-run-"

static const char lock_name[] = "lock";
static const char lock_before[] = "lock.new"; /* until it is locked */

enum { PATH_LEN_MAX = 80, /* what is left of a socket's name for the folder */ RANDOM_LEN = 6 };

/* ---- a folder of our own ---- */

/* The file bears its name only once it is locked: nobody takes it for a dead node's. */
static gh_status take_lock(int *out, const char *folder, gh_error *error)
{
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = dir < 0 ? -1
			 : openat(dir, lock_before, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	gh_status status = GH_OK;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ||
	    renameat(dir, lock_before, dir, lock_name) < 0)
		status = gh__fail_errno(error, GH_EIO, errno, "%s/%s", folder, lock_name);
	if (status != GH_OK && fd >= 0) {
		(void)unlinkat(dir, lock_before, 0);
		close(fd);
		fd = -1;
	}
	if (dir >= 0)
		close(dir);
	*out = fd;
	return status;
}

static gh_status make_own(gh__runtime *out, const char *parent, gh_error *error)
{
	char path[PATH_MAX];
	gh_status status;

	if (snprintf(path, sizeof path, "%s/" PREFIX "XXXXXX", parent) >= (int)sizeof path)
		return gh__fail(error, GH_EINVAL, "%s: the path is too long", parent);
	if (!mkdtemp(path))
		return gh__fail_errno(error, GH_EIO, errno, "%s", path);
	out->path = gh__strdup(path);
	status = out->path ? take_lock(&out->lock, path, error) : gh__fail_nomem(error);
	if (status != GH_OK)
		(void)rmdir(path);
	return status;
}

gh_status gh__runtime_make(gh__runtime *out, const char *given, const char *parent, gh_error *error)
{
	gh_status status = GH_OK;

	*out = (gh__runtime){ NULL, -1 };
	if (!given) {
		status = make_own(out, parent, error);
	} else {
		out->path = gh__strdup(given);
		if (!out->path)
			status = gh__fail_nomem(error);
		else if (mkdir(given, 0700) < 0 && errno != EEXIST)
			status = gh__fail_errno(error, GH_EIO, errno, "%s", given);
	}
	if (status == GH_OK && strlen(out->path) > PATH_LEN_MAX)
		status = gh__fail(
			error, GH_EINVAL,
			"runtime_dir: expected at most %d bytes, since sockets go there: %s",
			PATH_LEN_MAX, out->path);
	return status;
}

void gh__runtime_remove(gh__runtime *runtime)
{
	char path[PATH_MAX];

	if (runtime->lock >= 0) {
		snprintf(path, sizeof path, "%s/%s", runtime->path, lock_name);
		if (unlink(path) < 0 || rmdir(runtime->path) < 0)
			gh__warn("inference_node", "%s: %s", runtime->path, strerror(errno));
		close(runtime->lock);
	}
	gh__free(runtime->path);
	*runtime = (gh__runtime){ NULL, -1 };
}

/* ---- what others have left ---- */

static bool is_ours(const char *name)
{
	size_t len = strlen(PREFIX);

	return strncmp(name, PREFIX, len) == 0 && strlen(name) == len + RANDOM_LEN;
}

/* The lock of a folder that is ours and whose node is dead, taken; -1: it is not surely that. */
static int lock_of_dead(int dir)
{
	int fd = openat(dir, lock_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat opened, named;

	if (fd < 0)
		return -1;
	/* The second look is for another sweeper, who may have been here before us. */
	if (fstat(fd, &opened) == 0 && S_ISREG(opened.st_mode) && opened.st_uid == geteuid() &&
	    flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	    fstatat(dir, lock_name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    named.st_ino == opened.st_ino && named.st_dev == opened.st_dev)
		return fd;
	close(fd);
	return -1;
}

typedef bool entry_fn(int dir, const char *name);

static bool is_leftover(int dir, const char *name)
{
	struct stat info;

	return strcmp(name, lock_name) == 0 ||
	       (strncmp(name, "worker-", 7) == 0 &&
		fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(info.st_mode));
}

static bool remove_entry(int dir, const char *name)
{
	return strcmp(name, lock_name) == 0 || unlinkat(dir, name, 0) == 0;
}

/* Whether fn says so of every entry. */
static bool each_entry(int dir, entry_fn *fn)
{
	int copy = dup(dir);
	DIR *stream = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	bool all = stream != NULL;

	if (!stream && copy >= 0)
		close(copy);
	if (!stream)
		return false;
	rewinddir(stream);
	while (all && (entry = readdir(stream)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			all = fn(dir, entry->d_name);
	closedir(stream);
	return all;
}

static void sweep_one(int parent, const char *name)
{
	int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat info;
	int lock = -1;

	if (dir < 0)
		return;
	if (fstat(dir, &info) == 0 && info.st_uid == geteuid() && (info.st_mode & 077) == 0)
		lock = lock_of_dead(dir);
	/* Nothing is removed where something lies that is no node's. The lock goes last. */
	if (lock >= 0 && each_entry(dir, is_leftover) && each_entry(dir, remove_entry) &&
	    unlinkat(dir, lock_name, 0) == 0 && unlinkat(parent, name, AT_REMOVEDIR) == 0)
		gh__info("inference_node", "removed what a node that was killed left: %s", name);
	if (lock >= 0)
		close(lock);
	close(dir);
}

void gh__runtime_sweep(const char *parent)
{
	DIR *stream = opendir(parent);
	const struct dirent *entry;

	if (!stream)
		return;
	while ((entry = readdir(stream)))
		if (is_ours(entry->d_name))
			sweep_one(dirfd(stream), entry->d_name);
	closedir(stream);
}
