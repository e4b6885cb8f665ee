#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/map.h"

#define BUSY_MS  5000
#define PATH_LEN 4096
#define PAGE_MIN 512

struct gh__store {
	sqlite3 *db;
	gh__map *statements; /* SQL -> sqlite3_stmt */
};

static void finalize(void *statement)
{
	sqlite3_finalize(statement);
}

static gh_status status_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return GH_EBUSY;
	case SQLITE_NOMEM:
		return GH_ENOMEM;
	case SQLITE_CONSTRAINT:
		return GH_EEXIST;
	case SQLITE_TOOBIG:
		return GH_ETOOBIG;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return GH_EFORMAT;
	case SQLITE_ERROR:
	case SQLITE_MISUSE:
	case SQLITE_RANGE:
		return GH_EBUG;
	default:
		return GH_EIO;
	}
}

gh_status gh__store_fail(gh__store *store, const char *what, gh_error *error)
{
	int code = sqlite3_extended_errcode(store->db);

	return gh__fail_code(error, status_of(code), GH_DOMAIN_SQLITE, code, "%s: %s", what,
			     sqlite3_errmsg(store->db));
}

static gh_status execute(gh__store *store, const char *sql, const char *what, gh_error *error)
{
	if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return gh__store_fail(store, what, error);
	return GH_OK;
}

static gh_status sync_folder(const char *folder, gh_error *error)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int number = 0;

	if (fd < 0 || fsync(fd) != 0)
		number = errno;
	if (fd >= 0)
		close(fd);
	/* Some file systems cannot sync a folder; they say EINVAL and there is nothing to add. */
	if (number == 0 || number == EINVAL)
		return GH_OK;
	return gh__fail_errno(error, GH_EIO, number, "%s", folder);
}

/* Make the folders of a path that are missing. path is changed on the way and put back. */
static gh_status make_folders(char *path, gh_error *error)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int number = 0;

		*slash = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			number = errno;
		*slash = '/';
		if (number)
			return gh__fail_errno(error, gh__status_of_errno(number), number, "%s",
					      path);
	}
	return GH_OK;
}

/*
 * SQLite would make the file with the mode of the umask. A file that exists is left alone: closing
 * a descriptor of it would drop the locks of other connections in this process (POSIX).
 */
static gh_status make_file(char *path, gh_error *error)
{
	struct stat info;

	if (stat(path, &info) == 0) {
		/* SQLite takes a file shorter than any page for an empty one and writes over it. */
		if (S_ISREG(info.st_mode) && info.st_size > 0 && info.st_size < PAGE_MIN)
			return gh__fail(error, GH_EFORMAT, "%lld bytes are no database",
					(long long)info.st_size);
		return GH_OK;
	}
	gh_status status = make_folders(path, error);
	if (status != GH_OK)
		return status;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return GH_OK;
	if (fd < 0)
		return gh__fail_errno(error, gh__status_of_errno(errno), errno, "%s", path);
	close(fd);
	char *slash = strrchr(path, '/');
	*slash = '\0';
	status = sync_folder(slash == path ? "/" : path, error);
	*slash = '/';
	return status;
}

static gh_status read_version(gh__store *store, int64_t *version, gh_error *error)
{
	sqlite3_stmt *statement = NULL;
	gh_status status = GH_OK;

	if (sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &statement, NULL) !=
		    SQLITE_OK ||
	    sqlite3_step(statement) != SQLITE_ROW)
		status = gh__store_fail(store, "schema version", error);
	else
		*version = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return status;
}

static gh_status refuse_newer(int64_t version, size_t count, gh_error *error)
{
	if (version >= 0 && (uint64_t)version <= count)
		return GH_OK;
	return gh__fail(error, GH_ENOTSUP,
			"schema version %lld, this program knows 0 to %zu; a newer program wrote "
			"the file",
			(long long)version, count);
}

/* Write-ahead logging may be refused by a file system; then there is no durability to promise. */
static gh_status use_wal(gh__store *store, gh_error *error)
{
	sqlite3_stmt *statement = NULL;
	gh_status status = GH_OK;

	if (sqlite3_prepare_v2(store->db, "PRAGMA journal_mode=WAL", -1, &statement, NULL) !=
		    SQLITE_OK ||
	    sqlite3_step(statement) != SQLITE_ROW) {
		status = gh__store_fail(store, "journal_mode", error);
	} else {
		const char *mode = (const char *)sqlite3_column_text(statement, 0);

		if (!mode || strcmp(mode, "wal") != 0)
			status = gh__fail(error, GH_ENOTSUP,
					  "journal_mode is \"%s\", not \"wal\": the file system "
					  "cannot do it",
					  mode ? mode : "");
	}
	sqlite3_finalize(statement);
	return status;
}

/* Another process may migrate at the same time: the version is read again under the write lock. */
static gh_status migrate(gh__store *store, const char *const *steps, size_t count, gh_error *error)
{
	for (;;) {
		int64_t version = 0;
		char pragma[64];
		gh_status status = gh__store_begin(store, error);

		if (status != GH_OK)
			return status;
		status = read_version(store, &version, error);
		if (status == GH_OK)
			status = refuse_newer(version, count, error);
		if (status != GH_OK || (uint64_t)version == count) {
			gh__store_rollback(store);
			return status;
		}
		snprintf(pragma, sizeof pragma, "PRAGMA user_version=%lld", (long long)version + 1);
		status = execute(store, steps[version], "schema step", error);
		if (status == GH_OK)
			status = execute(store, pragma, "schema version", error);
		if (status != GH_OK) {
			gh__store_rollback(store);
			return status;
		}
		status = gh__store_commit(store, error);
		if (status != GH_OK)
			return status;
	}
}

static gh_status open_database(gh__store *store, char *path, const char *const *steps, size_t count,
			       gh_error *error)
{
	int64_t version = 0;
	gh_status status = make_file(path, error);

	if (status != GH_OK)
		return status;
	int code = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
				   NULL);
	if (!store->db)
		return gh__fail_nomem(error);
	if (code != SQLITE_OK)
		return gh__store_fail(store, "open", error);
	sqlite3_busy_timeout(store->db, BUSY_MS);

	/* Looks before it touches: a foreign or newer file is left as it is. */
	status = read_version(store, &version, error);
	if (status == GH_OK)
		status = refuse_newer(version, count, error);
	if (status == GH_OK)
		status = use_wal(store, error);
	if (status == GH_OK)
		status = execute(store, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON",
				 "synchronous, foreign_keys", error);
	if (status == GH_OK && (uint64_t)version < count)
		status = migrate(store, steps, count, error);
	return status;
}

gh_status gh__store_open(gh__store **out, const char *path, const char *const *steps, size_t count,
			 gh_error *error)
{
	gh__buf real = GH__BUF_INIT(PATH_LEN);
	gh_status status;
	gh__store *store = gh__calloc(1, sizeof *store);

	if (!store)
		return gh__fail_nomem(error);
	if (!*path) {
		status = gh__fail(error, GH_EINVAL, "path: \"\" is not the name of a file");
		goto fail;
	}
	/* "./" keeps SQLite from reading ":memory:" or "file:" into a name. */
	gh__buf_printf(&real, "%s%s", path[0] == '/' ? "" : "./", path);
	status = gh__buf_status(&real);
	if (status != GH_OK) {
		gh__fail(error, status, "path: longer than %d bytes", PATH_LEN);
		goto fail;
	}
	status = gh__map_create(&store->statements, finalize, error);
	if (status != GH_OK)
		goto fail;
	status = open_database(store, real.data, steps, count, error);
	if (status != GH_OK) {
		gh__error_prefix(error, "%s: ", path);
		goto fail;
	}
	gh__buf_free(&real);
	*out = store;
	return GH_OK;
fail:
	gh__buf_free(&real);
	gh__store_close(store);
	return status;
}

void gh__store_close(gh__store *store)
{
	if (!store)
		return;
	gh__map_free(store->statements);
	sqlite3_close_v2(store->db);
	gh__free(store);
}

sqlite3 *gh__store_db(gh__store *store)
{
	return store->db;
}

sqlite3_stmt *gh__store_statement(gh__store *store, const char *sql, gh_error *error)
{
	sqlite3_stmt *statement = gh__map_get(store->statements, sql);

	if (statement) {
		sqlite3_reset(statement);
		sqlite3_clear_bindings(statement);
		return statement;
	}
	if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
	    SQLITE_OK) {
		gh__store_fail(store, sql, error);
		return NULL;
	}
	if (!statement) {
		gh__fail(error, GH_EBUG, "\"%s\" holds no statement", sql);
		return NULL;
	}
	if (gh__map_put(store->statements, sql, statement, error) != GH_OK) {
		sqlite3_finalize(statement);
		return NULL;
	}
	return statement;
}

gh_status gh__store_run(gh__store *store, sqlite3_stmt *statement, gh_error *error)
{
	gh_status status = GH_OK;
	int code = sqlite3_step(statement);

	if (code == SQLITE_ROW)
		status = gh__fail(error, GH_EBUG, "%s: answers rows", sqlite3_sql(statement));
	else if (code != SQLITE_DONE)
		status = gh__store_fail(store, sqlite3_sql(statement), error);
	sqlite3_reset(statement);
	return status;
}

gh_status gh__store_begin(gh__store *store, gh_error *error)
{
	return execute(store, "BEGIN IMMEDIATE", "begin", error);
}

gh_status gh__store_commit(gh__store *store, gh_error *error)
{
	gh_status status = execute(store, "COMMIT", "commit", error);

	if (status != GH_OK)
		gh__store_rollback(store);
	return status;
}

void gh__store_rollback(gh__store *store)
{
	if (!sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}
