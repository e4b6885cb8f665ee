#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "folder.h"
#include "inference_node/runtime.h"

/*
 * The folder of a node's sockets, and those of nodes that were killed.
 */
static bool is_there(const char *path)
{
	struct stat info;

	return lstat(path, &info) == 0;
}

static void a_socket(const char *folder, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	ck_assert_int_lt(snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", folder, name),
			 (int)sizeof address.sun_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);
}

/* The folder of a node that ends without a word, in path. */
static void dead_node(char path[256])
{
	int status, ends[2];
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		gh__runtime runtime;
		gh_error error = GH_ERROR_INIT;

		if (gh__runtime_make(&runtime, NULL, root, &error) != GH_OK ||
		    write(ends[1], runtime.path, strlen(runtime.path) + 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(ends[1]);
	ck_assert_int_gt(read(ends[0], path, 256), 0);
	close(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	a_socket(path, "worker-0-0.sock");
	a_socket(path, "worker-1-127.sock");
}

static const char *beside(const char *folder, const char *name)
{
	static char path[512];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void touch(const char *path)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	fclose(file);
}

START_TEST(a_folder_of_its_own)
{
	gh__runtime runtime, other;
	char path[256];

	assert_ok(gh__runtime_make(&runtime, NULL, root, error));
	assert_ok(gh__runtime_make(&other, NULL, root, error));
	ck_assert_str_ne(runtime.path, other.path);
	snprintf(path, sizeof path, "%s", runtime.path);
	ck_assert(is_there(path));
	gh__runtime_sweep(root); /* it lives */
	ck_assert(is_there(beside(path, "lock")));
	gh__runtime_remove(&runtime);
	ck_assert(!is_there(path));
	gh__runtime_remove(&other);
	assert_fails(GH_EIO, "/nowhere", gh__runtime_make(&runtime, NULL, "/nowhere", error));
	gh__runtime_remove(&runtime);
}
END_TEST

START_TEST(an_operators_folder_stays)
{
	gh__runtime runtime;
	char path[128], deep[128];

	snprintf(path, sizeof path, "%s/given", root);
	assert_ok(gh__runtime_make(&runtime, path, root, error));
	gh__runtime_remove(&runtime);
	assert_ok(gh__runtime_make(&runtime, path, root, error));
	gh__runtime_remove(&runtime);
	ck_assert(is_there(path));
	ck_assert(!is_there(beside(path, "lock")));
	memset(deep, 'x', sizeof deep - 1);
	deep[sizeof deep - 1] = '\0';
	memcpy(deep, path, strlen(path));
	assert_fails(GH_EINVAL, "at most 80", gh__runtime_make(&runtime, deep, root, error));
	gh__runtime_remove(&runtime);
	rmdir(deep);
}
END_TEST

START_TEST(dead_nodes_are_swept)
{
	char path[3][256];

	for (int i = 0; i < 3; i++)
		dead_node(path[i]);
	ck_assert(is_there(beside(path[2], "worker-1-127.sock")));
	gh__runtime_sweep(root);
	for (int i = 0; i < 3; i++)
		ck_assert_msg(!is_there(path[i]), "%s is there", path[i]);
	gh__runtime_sweep(root);
	gh__runtime_sweep("/nowhere");
}
END_TEST

/* Whatever is not surely a dead node's, and nothing else, stays as it is. */
START_TEST(what_is_in_doubt_stays)
{
	char strange[256], open_to_all[256], linked[256], renamed[256], unlocked[256], target[256];

	dead_node(strange);
	touch(beside(strange, "notes.txt"));
	dead_node(open_to_all);
	ck_assert_int_eq(chmod(open_to_all, 0755), 0);
	dead_node(linked); /* its lock is a link, to a file that nobody holds */
	touch(at("elsewhere"));
	ck_assert_int_eq(unlink(beside(linked, "lock")), 0);
	ck_assert_int_eq(symlink(at("elsewhere"), beside(linked, "lock")), 0);
	dead_node(renamed);
	ck_assert_int_eq(rename(renamed, at("gonkahost-run-other-name")), 0);
	dead_node(unlocked); /* as one that is being made */
	ck_assert_int_eq(unlink(beside(unlocked, "lock")), 0);
	dead_node(target); /* shown by a link */
	ck_assert_int_eq(rename(target, at("target")), 0);
	ck_assert_int_eq(symlink(at("target"), at("gonkahost-run-abcdef")), 0);
	touch(at("gonkahost-run-ghijkl"));
	gh__runtime_sweep(root);
	ck_assert(is_there(beside(strange, "notes.txt")));
	ck_assert(is_there(beside(strange, "worker-0-0.sock")));
	ck_assert(is_there(beside(strange, "lock")));
	ck_assert(is_there(beside(open_to_all, "worker-0-0.sock")));
	ck_assert(is_there(beside(linked, "worker-0-0.sock")));
	ck_assert(is_there(at("elsewhere")));
	ck_assert(is_there(at("gonkahost-run-other-name")));
	ck_assert(is_there(beside(unlocked, "worker-0-0.sock")));
	ck_assert(is_there(at("gonkahost-run-abcdef")));
	ck_assert(is_there(at("target/worker-0-0.sock")));
	ck_assert(is_there(at("gonkahost-run-ghijkl")));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runtime");
	TCase *tcase = tcase_create("runtime");

	tcase_add_checked_fixture(tcase, make_root, remove_root);
	tcase_add_test(tcase, a_folder_of_its_own);
	tcase_add_test(tcase, an_operators_folder_stays);
	tcase_add_test(tcase, dead_nodes_are_swept);
	tcase_add_test(tcase, what_is_in_doubt_stays);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
