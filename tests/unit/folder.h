#ifndef GH_TESTS_FOLDER_H
#define GH_TESTS_FOLDER_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder of its own for each test; everything below is relative to it. */

static char root[64];

static inline void make_root(void)
{
	snprintf(root, sizeof root, "/tmp/gonkahost-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static inline int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
	(void)info;
	(void)type;
	(void)walk;
	return remove(path);
}

static inline void remove_root(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The answer is good until the fourth call from now. */
static inline const char *at(const char *name)
{
	static char paths[4][1024];
	static int turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", root, name);
	return path;
}

static inline void make_folder(const char *name)
{
	char path[512];
	struct stat info;

	snprintf(path, sizeof path, "%s/", at(name));
	for (char *c = path + strlen(root) + 1; *c; c++) {
		if (*c == '/') {
			*c = '\0';
			mkdir(path, 0700);
			*c = '/';
		}
	}
	ck_assert_int_eq(stat(path, &info), 0);
}

static inline void write_bytes(const char *name, const void *data, size_t len)
{
	FILE *file = fopen(at(name), "wb");

	ck_assert_msg(file != NULL, "%s", at(name));
	ck_assert_uint_eq(fwrite(data, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

static inline void write_text(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

#endif
