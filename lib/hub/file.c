#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "hub/config.h"
#include "hub/file.h"

/* Large enough to keep a network file system busy, small enough that a signal is answered soon. */
#define PIECE ((size_t)64 << 20)

/* The end of a folder's path, as long as an error's text has room for. */
static const char *tail(const char *folder)
{
	size_t len = strlen(folder);

	return len <= 120 ? folder : folder + len - 120;
}

gh_status gh__hub_open(int *fd, uint64_t *size, const char *folder, const char *name,
		       gh_error *error)
{
	char path[PATH_MAX];
	struct stat info;
	int opened, len;
	gh_status status;

	len = snprintf(path, sizeof path, "%s/%s", folder, name);
	if (len < 0 || (size_t)len >= sizeof path)
		return gh__fail(error, GH_EINVAL, "%.80s: path of %d bytes, at most %d expected",
				name, len, PATH_MAX - 1);
	/* O_NONBLOCK: opening a pipe nobody writes to must not wait. */
	opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (opened < 0) {
		int number = errno;

		/* Not GH_ENOENT: the file belongs to the model, so it must not count as left
		 * out. */
		if (number == ENOENT && lstat(path, &info) == 0)
			return gh__fail(error, GH_EIO,
					"%.80s in %s: a link to a missing file, as an interrupted "
					"download leaves it",
					name, tail(folder));
		return gh__fail_errno(error, gh__status_of_errno(number), number, "%.80s in %s",
				      name, tail(folder));
	}
	if (fstat(opened, &info) != 0) {
		status = gh__fail_errno(error, GH_EIO, errno, "%.80s in %s", name, tail(folder));
		close(opened);
		return status;
	}
	if (!S_ISREG(info.st_mode)) {
		close(opened);
		return gh__fail(error, GH_EIO, "%.80s in %s: not a regular file", name,
				tail(folder));
	}
	*fd = opened;
	*size = (uint64_t)info.st_size;
	return GH_OK;
}

gh_status gh__hub_pread(int fd, void *dst, uint64_t offset, uint64_t size, const char *name,
			gh_error *error)
{
	unsigned char *to = dst;

	if (offset > INT64_MAX || size > INT64_MAX - offset)
		return gh__fail(error, GH_EINVAL, "%s: no file has %llu bytes at %llu", name,
				(unsigned long long)size, (unsigned long long)offset);
	while (size > 0) {
		size_t piece = size < PIECE ? (size_t)size : PIECE;
		ssize_t got = pread(fd, to, piece, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return gh__fail_errno(error, GH_EIO, errno, "%s", name);
		if (got == 0)
			return gh__fail(error, GH_EIO,
					"%s: ends at byte %llu, %llu more were expected", name,
					(unsigned long long)offset, (unsigned long long)size);
		to += got;
		offset += (uint64_t)got;
		size -= (uint64_t)got;
	}
	return GH_OK;
}

gh_status gh__hub_check_path(const char *path, const char *what, gh_status status, gh_error *error)
{
	const char *at = path;

	for (;;) {
		size_t len = strcspn(at, "/");

		if (len == 0 || (len <= 2 && memcmp(at, "..", len) == 0))
			return gh__fail(error, status,
					"%s: \"%.80s\" leaves its folder or has an empty part",
					what, path);
		for (size_t i = 0; i < len; i++)
			if ((unsigned char)at[i] < 0x20 || at[i] == 0x7f || at[i] == '\\')
				return gh__fail(error, status,
						"%s: character 0x%02x is not allowed in a path",
						what, (unsigned)(unsigned char)at[i]);
		if (at[len] == '\0')
			return GH_OK;
		at += len + 1;
	}
}

gh_status gh__hub_read_file(char **out, size_t *len, const char *folder, const char *name,
			    size_t max, gh_error *error)
{
	gh__buf text = GH__BUF_INIT(max);
	uint64_t size = 0;
	gh_status status;
	int fd = -1;

	status = gh__hub_open(&fd, &size, folder, name, error);
	if (status != GH_OK)
		return status;
	if (size > max) {
		status = gh__fail(error, GH_ETOOBIG, "%s: %llu bytes, at most %zu expected", name,
				  (unsigned long long)size, max);
		goto done;
	}
	if (!gh__buf_reserve(&text, (size_t)size)) {
		status = gh__fail_nomem(error);
		goto done;
	}
	status = gh__hub_pread(fd, text.data, 0, size, name, error);
	if (status != GH_OK)
		goto done;
	text.len = (size_t)size;
	text.data[text.len] = '\0';
	*len = text.len;
	*out = gh__buf_take(&text);
done:
	gh__buf_free(&text);
	close(fd);
	return status;
}
