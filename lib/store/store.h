#ifndef GH_STORE_STORE_H
#define GH_STORE_STORE_H

#include <sqlite3.h>

#include <gonkahost/base.h>

/*
 * SQLite, opened one way: WAL, synchronous=FULL, foreign keys on, a busy limit, a schema that moves
 * forward by numbered steps (PRAGMA user_version). When a write returns GH_OK it is on the disk.
 *
 * A store is used by one thread at a time (its owner's lock or its owner's thread).
 */
typedef struct gh__store gh__store;

/* steps[i] takes the schema from version i to i + 1, each in a transaction. A file of a newer
 * version, or one that is no database, is an error that names the path; nothing is changed. The
 * file is made with mode 0600, missing folders with 0700. */
gh_status gh__store_open(gh__store **out, const char *path, const char *const *steps, size_t count,
			 gh_error *error);
void gh__store_close(gh__store *store);

sqlite3 *gh__store_db(gh__store *store);

/* A statement prepared once for the store's life, reset and with bindings cleared. Borrowed. */
sqlite3_stmt *gh__store_statement(gh__store *store, const char *sql, gh_error *error);

/* Step a statement that answers no rows; resets it. */
gh_status gh__store_run(gh__store *store, sqlite3_stmt *statement, gh_error *error);

gh_status gh__store_begin(gh__store *store, gh_error *error);
gh_status gh__store_commit(gh__store *store, gh_error *error); /* rolls back when it fails */
void gh__store_rollback(gh__store *store);

/* SQLite's text of the latest failure as our error. */
gh_status gh__store_fail(gh__store *store, const char *what, gh_error *error);

#endif
