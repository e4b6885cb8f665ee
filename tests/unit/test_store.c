#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"

static char folder[64];
static char path[128];

static void setup(void)
{
	snprintf(folder, sizeof folder, "/tmp/gh-test-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/a/b/test.db", folder);
}

static void teardown(void)
{
	char command[256];

	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

#define FIRST_STEP                                                        \
	"CREATE TABLE node (id TEXT PRIMARY KEY, port INTEGER NOT NULL);" \
	"INSERT INTO node VALUES ('first', 1)"

static const char *const steps[] = {
	FIRST_STEP,
	"ALTER TABLE node ADD COLUMN host TEXT NOT NULL DEFAULT 'localhost'",
	"CREATE TABLE child (node TEXT NOT NULL REFERENCES node (id))",
};

static int64_t number(gh__store *store, const char *sql)
{
	sqlite3_stmt *statement = gh__store_statement(store, sql, NULL);
	int64_t value;

	ck_assert_ptr_nonnull(statement);
	ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
	value = sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	return value;
}

static void write_file(const char *data, size_t size)
{
	FILE *file = fopen(path, "wb");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(data, 1, size, file), size);
	fclose(file);
}

START_TEST(makes_private_file_and_folders)
{
	gh__store *store;
	struct stat info;

	umask(0);
	assert_ok(gh__store_open(&store, path, steps, 1, error));
	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_uint_eq(info.st_mode & 0777, 0600);
	char *slash = strrchr(path, '/');
	*slash = '\0';
	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_uint_eq(info.st_mode & 0777, 0700);
	*slash = '/';
	ck_assert_int_eq(number(store, "PRAGMA synchronous"), 2);
	ck_assert_int_eq(number(store, "PRAGMA foreign_keys"), 1);
	gh__store_close(store);
	gh__store_close(NULL);
}
END_TEST

START_TEST(moves_the_schema_forward)
{
	gh__store *store;

	for (size_t count = 1; count <= 3; count++) {
		assert_ok(gh__store_open(&store, path, steps, count, error));
		ck_assert_int_eq(number(store, "PRAGMA user_version"), (int64_t)count);
		ck_assert_int_eq(number(store, "SELECT count(*) FROM node"), 1);
		gh__store_close(store);
	}
	/* From nothing to the end at once is the same schema. */
	snprintf(path, sizeof path, "%s/other.db", folder);
	assert_ok(gh__store_open(&store, path, steps, 3, error));
	ck_assert_int_eq(number(store, "SELECT count(*) FROM node WHERE host = 'localhost'"), 1);
	gh__store_close(store);
}
END_TEST

START_TEST(refuses_a_newer_version)
{
	gh__store *store;

	assert_ok(gh__store_open(&store, path, steps, 3, error));
	gh__store_close(store);
	store = NULL;
	assert_fails(GH_ENOTSUP, "version 3", gh__store_open(&store, path, steps, 2, error));
	assert_fails(GH_ENOTSUP, path, gh__store_open(&store, path, steps, 2, error));
	ck_assert_ptr_null(store);
	assert_ok(gh__store_open(&store, path, steps, 3, error));
	gh__store_close(store);
}
END_TEST

START_TEST(a_failing_step_changes_nothing)
{
	const char *const bad[] = { steps[0], "CREATE TABLE extra (x); SELECT nonsense" };
	gh__store *store;

	assert_ok(gh__store_open(&store, path, bad, 1, error));
	gh__store_close(store);
	assert_fails(GH_EBUG, "nonsense", gh__store_open(&store, path, bad, 2, error));
	assert_ok(gh__store_open(&store, path, bad, 1, error));
	ck_assert_int_eq(number(store, "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'"),
			 0);
	gh__store_close(store);
}
END_TEST

START_TEST(refuses_what_is_no_database)
{
	static const size_t sizes[] = { 1, 3, 99, 100, 511, 512, 5000 };
	static char junk[5000], back[sizeof junk + 1];
	gh__store *store;

	snprintf(path, sizeof path, "%s/junk.db", folder);
	memset(junk, 'x', sizeof junk);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		write_file(junk, sizes[i]);
		assert_fails(GH_EFORMAT, path, gh__store_open(&store, path, steps, 1, error));
		FILE *file = fopen(path, "rb");
		ck_assert_uint_eq(fread(back, 1, sizeof back, file), sizes[i]);
		ck_assert_mem_eq(back, junk, sizes[i]);
		fclose(file);
	}
	write_file(junk, 0);
	assert_ok(gh__store_open(&store, path, steps, 1, error));
	gh__store_close(store);
}
END_TEST

START_TEST(refuses_odd_paths)
{
	static char long_path[5000];
	gh__store *store;

	assert_fails(GH_EINVAL, "path", gh__store_open(&store, "", steps, 1, error));
	memset(long_path, 'a', sizeof long_path - 1);
	assert_fails(GH_ETOOBIG, "path", gh__store_open(&store, long_path, steps, 1, error));
	assert_fails(GH_EIO, folder, gh__store_open(&store, folder, steps, 1, error));
	snprintf(path, sizeof path, "%s/file", folder);
	write_file("x", 1);
	snprintf(path, sizeof path, "%s/file/under-a-file.db", folder);
	assert_fails(GH_EIO, path, gh__store_open(&store, path, steps, 1, error));
}
END_TEST

START_TEST(names_are_files_never_options)
{
	gh__store *store;

	ck_assert_int_eq(chdir(folder), 0);
	assert_ok(gh__store_open(&store, ":memory:", steps, 1, error));
	gh__store_close(store);
	ck_assert_int_eq(access(":memory:", F_OK), 0);
	assert_ok(gh__store_open(&store, "file:name?mode=memory", steps, 1, error));
	gh__store_close(store);
	ck_assert_int_eq(access("file:name?mode=memory", F_OK), 0);
	ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(statements_are_kept_and_clean)
{
	static const char insert[] = "INSERT INTO node (id, port) VALUES (?1, ?2)";
	gh__store *store;

	assert_ok(gh__store_open(&store, path, steps, 3, error));
	sqlite3_stmt *statement = gh__store_statement(store, insert, NULL);
	ck_assert_ptr_nonnull(statement);
	sqlite3_bind_text(statement, 1, "n1", -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 2, 8080);
	assert_ok(gh__store_run(store, statement, error));
	ck_assert_ptr_eq(gh__store_statement(store, insert, NULL), statement);
	/* The bindings are gone: port is NULL now. */
	sqlite3_bind_text(statement, 1, "n2", -1, SQLITE_STATIC);
	assert_fails(GH_EEXIST, "port", gh__store_run(store, statement, error));
	statement = gh__store_statement(store, insert, NULL);
	sqlite3_bind_text(statement, 1, "n1", -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 2, 1);
	assert_fails(GH_EEXIST, "node.id", gh__store_run(store, statement, error));
	statement = gh__store_statement(store, "INSERT INTO child VALUES ('nobody')", NULL);
	assert_fails(GH_EEXIST, "FOREIGN KEY", gh__store_run(store, statement, error));
	statement = gh__store_statement(store, "SELECT 1", NULL);
	assert_fails(GH_EBUG, "rows", gh__store_run(store, statement, error));

	gh_error error = GH_ERROR_INIT;
	ck_assert_ptr_null(gh__store_statement(store, "SELEC 1", &error));
	ck_assert_int_eq(error.domain, GH_DOMAIN_SQLITE);
	ck_assert_ptr_null(gh__store_statement(store, " -- nothing", NULL));
	gh__store_close(store);
}
END_TEST

START_TEST(transactions)
{
	gh__store *store;

	assert_ok(gh__store_open(&store, path, steps, 1, error));
	assert_ok(gh__store_begin(store, error));
	assert_fails(GH_EBUG, "begin", gh__store_begin(store, error));
	sqlite3_exec(gh__store_db(store), "DELETE FROM node", NULL, NULL, NULL);
	gh__store_rollback(store);
	gh__store_rollback(store);
	ck_assert_int_eq(number(store, "SELECT count(*) FROM node"), 1);
	assert_fails(GH_EBUG, "commit", gh__store_commit(store, error));
	assert_ok(gh__store_begin(store, error));
	sqlite3_exec(gh__store_db(store), "DELETE FROM node", NULL, NULL, NULL);
	assert_ok(gh__store_commit(store, error));
	ck_assert_int_eq(number(store, "SELECT count(*) FROM node"), 0);
	gh__store_close(store);
}
END_TEST

/* The child says over a pipe that it has committed, and is killed while it is at the next one. */
static void commit_until_killed(int out)
{
	gh__store *store;

	if (gh__store_open(&store, path, steps, 1, NULL) != GH_OK)
		_exit(1);
	for (int i = 0;; i++) {
		sqlite3_stmt *statement =
			gh__store_statement(store,
					    "INSERT INTO node VALUES (hex(randomblob(16)), ?1)",
					    NULL);

		sqlite3_bind_int(statement, 1, i);
		if (gh__store_run(store, statement, NULL) != GH_OK)
			_exit(1);
		if (write(out, &i, sizeof i) != (ssize_t)sizeof i)
			_exit(1);
	}
}

START_TEST(acknowledged_is_durable)
{
	for (int round = 0; round < 5; round++) {
		int ends[2], last = -1, i;
		gh__store *store;

		ck_assert_int_eq(pipe(ends), 0);
		pid_t child = fork();
		if (child == 0) {
			close(ends[0]);
			commit_until_killed(ends[1]);
		}
		close(ends[1]);
		for (int n = 0; n <= round; n++)
			ck_assert_int_eq(read(ends[0], &i, sizeof i), (ssize_t)sizeof i);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		last = i;
		while (read(ends[0], &i, sizeof i) == (ssize_t)sizeof i)
			last = i;
		close(ends[0]);

		assert_ok(gh__store_open(&store, path, steps, 1, error));
		ck_assert_int_eq(number(store, "SELECT count(DISTINCT port) FROM node WHERE id != "
					       "'first'") > last,
				 1);
		ck_assert_int_eq(sqlite3_exec(gh__store_db(store), "DELETE FROM node", NULL, NULL,
					      NULL),
				 SQLITE_OK);
		gh__store_close(store);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tests = tcase_create("store");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, makes_private_file_and_folders);
	tcase_add_test(tests, moves_the_schema_forward);
	tcase_add_test(tests, refuses_a_newer_version);
	tcase_add_test(tests, a_failing_step_changes_nothing);
	tcase_add_test(tests, refuses_what_is_no_database);
	tcase_add_test(tests, refuses_odd_paths);
	tcase_add_test(tests, names_are_files_never_options);
	tcase_add_test(tests, statements_are_kept_and_clean);
	tcase_add_test(tests, transactions);
	tcase_add_test(tests, acknowledged_is_durable);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
