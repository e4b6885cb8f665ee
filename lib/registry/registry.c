#include <gonkahost/registry.h>

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "json/json.h"
#include "registry/node.h"
#include "registry/node_check.h"
#include "registry/node_json.h"
#include "registry/number.h"
#include "store/store.h"

enum { CONFIG_FILE_MAX = 16 << 20, NODES_MAX = 4096, FINDINGS_MAX = 4096 };

struct gh_registry {
	pthread_mutex_t lock; /* the store belongs to whoever holds it */
	gh__store *store;
};

/* AUTOINCREMENT: a number is never given twice, not even after its node was removed. */
static const char *const schema[] = {
	"CREATE TABLE node ("
	" number INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE,"
	" host TEXT NOT NULL, inference_port INTEGER NOT NULL, inference_segment TEXT NOT NULL,"
	" poc_port INTEGER NOT NULL, poc_segment TEXT NOT NULL,"
	" base_url TEXT NOT NULL, auth_token TEXT NOT NULL,"
	" max_concurrent INTEGER NOT NULL, models TEXT NOT NULL, hardware TEXT NOT NULL,"
	" enabled INTEGER NOT NULL DEFAULT 1, admin_epoch INTEGER NOT NULL DEFAULT 0,"
	" created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL"
	") STRICT;"
	"CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;",
};

gh_status gh_registry_open(gh_registry **out, const char *path, gh_error *error)
{
	gh_registry *registry;
	gh_status status;

	if (!out || !path || !path[0])
		return gh__fail(error, GH_EINVAL, "path: expected a file name");
	registry = gh__calloc(1, sizeof *registry);
	if (!registry)
		return gh__fail_nomem(error);
	status = gh__store_open(&registry->store, path, schema, sizeof schema / sizeof *schema,
				error);
	if (status != GH_OK) {
		gh__free(registry);
		return status;
	}
	pthread_mutex_init(&registry->lock, NULL);
	*out = registry;
	return GH_OK;
}

void gh_registry_close(gh_registry *registry)
{
	if (!registry)
		return;
	gh__store_close(registry->store);
	pthread_mutex_destroy(&registry->lock);
	gh__free(registry);
}

/* ---- reading ---- */

static const char *column(sqlite3_stmt *row, int i)
{
	const unsigned char *text = sqlite3_column_text(row, i);

	return text ? (const char *)text : "";
}

static gh_status column_json(json_t *into, const char *key, sqlite3_stmt *row, int i,
			     gh_error *error)
{
	const char *text = column(row, i);
	json_t *value;

	if (strcmp(text, "null") == 0)
		return GH_OK;
	value = gh__json_parse(text, strlen(text), true, error);
	if (!value) {
		gh__error_prefix(error, "registry: node %s: %s: ", column(row, 1), key);
		return GH_EFORMAT;
	}
	json_object_set_new(into, key, value);
	return GH_OK;
}

static const char columns[] =
	"SELECT number, id, host, inference_port, inference_segment, poc_port, poc_segment,"
	" base_url, auth_token, max_concurrent, models, hardware, enabled, admin_epoch"
	" FROM node ORDER BY number";

/* One row as a record; models and hardware take the way every node object takes. */
static gh_status read_row(gh_node **out, sqlite3_stmt *row, gh_error *error)
{
	json_t *lists = json_object();
	gh_node *listed = NULL;
	gh_node node;
	gh_status status;

	if (!lists)
		return gh__fail_nomem(error);
	status = column_json(lists, "models", row, 10, error);
	if (status == GH_OK)
		status = column_json(lists, "hardware", row, 11, error);
	if (status == GH_OK)
		status = gh__node_from_json(&listed, lists, "registry", error);
	json_decref(lists);
	if (status != GH_OK)
		return status;
	node = *listed;
	node.number = (uint64_t)sqlite3_column_int64(row, 0);
	node.id = column(row, 1);
	node.host = column(row, 2);
	node.inference_port = sqlite3_column_int(row, 3);
	node.inference_segment = column(row, 4);
	node.poc_port = sqlite3_column_int(row, 5);
	node.poc_segment = column(row, 6);
	node.base_url = column(row, 7);
	node.auth_token = column(row, 8);
	node.max_concurrent = sqlite3_column_int(row, 9);
	node.enabled = sqlite3_column_int(row, 12);
	node.admin_epoch = (uint64_t)sqlite3_column_int64(row, 13);
	status = gh__node_copy(out, &node, error);
	gh__free(listed);
	return status;
}

/* A list keeps its records one by one, and a row of shallow copies for its readers. */
typedef struct list {
	gh_node_list face;
	gh_node *nodes;
	gh_node **blocks;
	size_t capacity;
} list;

static gh_status list_add(list *l, gh_node *node, gh_error *error)
{
	if (l->face.count == l->capacity) {
		size_t capacity = l->capacity ? 2 * l->capacity : 16;
		gh_node *nodes = gh__realloc_array(l->nodes, capacity, sizeof *nodes);
		gh_node **blocks;

		if (!nodes)
			return gh__fail_nomem(error);
		l->nodes = nodes;
		blocks = gh__realloc_array(l->blocks, capacity, sizeof *blocks);
		if (!blocks)
			return gh__fail_nomem(error);
		l->blocks = blocks;
		l->capacity = capacity;
	}
	l->blocks[l->face.count] = node;
	l->nodes[l->face.count++] = *node;
	l->face.nodes = l->nodes;
	return GH_OK;
}

void gh_node_list_free(gh_node_list *face)
{
	list *l = (list *)face;
	size_t i;

	if (!l)
		return;
	for (i = 0; i < l->face.count; i++)
		gh__free(l->blocks[i]);
	gh__free(l->blocks);
	gh__free(l->nodes);
	gh__free(l);
}

static gh_status list_locked(gh_registry *registry, gh_node_list **out, gh_error *error)
{
	sqlite3_stmt *rows = gh__store_statement(registry->store, columns, error);
	list *l;
	gh_status status = GH_OK;
	int step;

	if (!rows)
		return GH_EIO;
	l = gh__calloc(1, sizeof *l);
	if (!l)
		return gh__fail_nomem(error);
	while (status == GH_OK && (step = sqlite3_step(rows)) == SQLITE_ROW) {
		gh_node *node;

		status = read_row(&node, rows, error);
		if (status != GH_OK)
			break;
		status = list_add(l, node, error);
		if (status != GH_OK)
			gh__free(node);
	}
	if (status == GH_OK && step != SQLITE_DONE)
		status = gh__store_fail(registry->store, "registry: reading nodes", error);
	sqlite3_reset(rows);
	if (status != GH_OK)
		gh_node_list_free(&l->face);
	else
		*out = &l->face;
	return status;
}

gh_status gh_registry_list(gh_registry *registry, gh_node_list **out, gh_error *error)
{
	gh_status status;

	pthread_mutex_lock(&registry->lock);
	status = list_locked(registry, out, error);
	pthread_mutex_unlock(&registry->lock);
	return status;
}

/* ---- numbers ---- */

static gh_status id_locked(gh_registry *registry, uint64_t number, char **id, gh_error *error)
{
	sqlite3_stmt *row = gh__store_statement(registry->store,
						"SELECT id FROM node WHERE number = ?1", error);
	gh_status status = GH_OK;
	int step;

	if (!row)
		return GH_EIO;
	sqlite3_bind_int64(row, 1, (sqlite3_int64)number);
	step = sqlite3_step(row);
	if (step == SQLITE_ROW) {
		*id = gh__strdup(column(row, 0));
		status = *id ? GH_OK : gh__fail_nomem(error);
	} else if (step != SQLITE_DONE) {
		status = gh__store_fail(registry->store, "registry: reading numbers", error);
	}
	sqlite3_reset(row);
	return status;
}

gh_status gh__registry_id_of(gh_registry *registry, uint64_t number, char **id, gh_error *error)
{
	gh_status status;

	*id = NULL;
	if (number > INT64_MAX)
		return GH_OK;
	pthread_mutex_lock(&registry->lock);
	status = id_locked(registry, number, id, error);
	pthread_mutex_unlock(&registry->lock);
	return status;
}

static gh_status highest_locked(gh_registry *registry, uint64_t *number, gh_error *error)
{
	sqlite3_stmt *row =
		gh__store_statement(registry->store,
				    "SELECT seq FROM sqlite_sequence WHERE name = 'node'", error);
	gh_status status = GH_OK;
	int step;

	if (!row)
		return GH_EIO;
	step = sqlite3_step(row);
	if (step == SQLITE_ROW)
		*number = (uint64_t)sqlite3_column_int64(row, 0);
	else if (step != SQLITE_DONE)
		status = gh__store_fail(registry->store, "registry: reading numbers", error);
	sqlite3_reset(row);
	return status;
}

gh_status gh__registry_highest(gh_registry *registry, uint64_t *number, gh_error *error)
{
	gh_status status;

	*number = 0;
	pthread_mutex_lock(&registry->lock);
	status = highest_locked(registry, number, error);
	pthread_mutex_unlock(&registry->lock);
	return status;
}

/* ---- writing ---- */

/* The parameters of both statements below. */
static gh_status bind_node(sqlite3_stmt *statement, const gh_node *node, const char *models,
			   const char *hardware, gh_error *error)
{
	if (!models || !hardware)
		return gh__fail_nomem(error);
	sqlite3_bind_text(statement, 1, node->id, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, node->host, -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 3, node->inference_port);
	sqlite3_bind_text(statement, 4, node->inference_segment, -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 5, node->poc_port);
	sqlite3_bind_text(statement, 6, node->poc_segment, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 7, node->base_url, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 8, node->auth_token, -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 9, node->max_concurrent);
	sqlite3_bind_text(statement, 10, models, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 11, hardware, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 12, gh__wall());
	return GH_OK;
}

/* An update first, and an insert if there was nothing to update: an upsert would use up a
 * number. */
static gh_status write_node(gh_registry *registry, const gh_node *node, gh_error *error)
{
	static const char *const sql[] = {
		"UPDATE node SET host = ?2, inference_port = ?3, inference_segment = ?4,"
		" poc_port = ?5, poc_segment = ?6, base_url = ?7, auth_token = ?8,"
		" max_concurrent = ?9, models = ?10, hardware = ?11, updated_at = ?12"
		" WHERE id = ?1",
		"INSERT INTO node (id, host, inference_port, inference_segment, poc_port,"
		" poc_segment, base_url, auth_token, max_concurrent, models, hardware,"
		" created_at, updated_at)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)",
	};
	json_t *models = gh__node_models_to_json(node);
	json_t *hardware = gh__node_hardware_to_json(node);
	char *models_text = models ? gh__json_text(models, NULL) : NULL;
	char *hardware_text = hardware ? gh__json_text(hardware, NULL) : NULL;
	gh_status status = GH_OK;
	bool written = false;
	int i;

	for (i = 0; i < 2 && status == GH_OK && !written; i++) {
		sqlite3_stmt *statement = gh__store_statement(registry->store, sql[i], error);

		status = statement ? bind_node(statement, node, models_text, hardware_text, error)
				   : GH_EIO;
		if (status == GH_OK)
			status = gh__store_run(registry->store, statement, error);
		written = sqlite3_changes(gh__store_db(registry->store)) > 0;
	}
	json_decref(models);
	json_decref(hardware);
	gh_free(models_text);
	gh_free(hardware_text);
	return status;
}

/* node is a cleaned copy. */
static void collect(gh__buf *findings, const gh_node *node, const gh_node_list *others)
{
	size_t i;

	gh__node_check(findings, node);
	for (i = 0; i < others->count; i++)
		gh__node_check_against(findings, node, &others->nodes[i]);
}

static gh_status check_all(const gh_node *node, const gh_node_list *others, gh_error *error)
{
	gh__buf findings = GH__BUF_INIT(FINDINGS_MAX);
	gh_status status;

	collect(&findings, node, others);
	status = gh__node_check_result(&findings, error);
	gh__buf_free(&findings);
	if (status == GH_OK && others->count >= NODES_MAX)
		status = gh__fail(error, GH_ETOOBIG, "registry: more than %d nodes", NODES_MAX);
	return status;
}

gh_status gh__registry_findings(gh_registry *registry, const gh_node *node, gh__buf *findings,
				gh_error *error)
{
	gh_node *cleaned;
	gh_node_list *others;
	gh_status status = gh__node_copy_clean(&cleaned, node, error);

	if (status != GH_OK)
		return status;
	status = gh_registry_list(registry, &others, error);
	if (status == GH_OK) {
		collect(findings, cleaned, others);
		gh_node_list_free(others);
	}
	gh__free(cleaned);
	return status;
}

static gh_status put_locked(gh_registry *registry, const gh_node *node, gh_error *error)
{
	gh_node_list *others;
	gh_status status = list_locked(registry, &others, error);

	if (status != GH_OK)
		return status;
	status = check_all(node, others, error);
	gh_node_list_free(others);
	return status == GH_OK ? write_node(registry, node, error) : status;
}

gh_status gh_registry_put(gh_registry *registry, const gh_node *node, gh_error *error)
{
	gh_node *cleaned;
	gh_status status;

	if (!node || node->struct_size != sizeof *node)
		return gh__fail(error, GH_EINVAL, "node: begin with GH_NODE_INIT");
	status = gh__node_copy_clean(&cleaned, node, error);
	if (status != GH_OK)
		return status;
	pthread_mutex_lock(&registry->lock);
	status = put_locked(registry, cleaned, error);
	pthread_mutex_unlock(&registry->lock);
	gh__free(cleaned);
	return status;
}

static gh_status remove_locked(gh_registry *registry, const char *id, int32_t *removed,
			       gh_error *error)
{
	sqlite3_stmt *statement =
		gh__store_statement(registry->store, "DELETE FROM node WHERE id = ?1", error);
	gh_status status;

	if (!statement)
		return GH_EIO;
	sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
	status = gh__store_run(registry->store, statement, error);
	if (status == GH_OK)
		*removed = sqlite3_changes(gh__store_db(registry->store)) > 0;
	return status;
}

gh_status gh_registry_remove(gh_registry *registry, const char *id, int32_t *removed,
			     gh_error *error)
{
	gh_status status;

	pthread_mutex_lock(&registry->lock);
	status = remove_locked(registry, id, removed, error);
	pthread_mutex_unlock(&registry->lock);
	return status;
}

static gh_status enable_locked(gh_registry *registry, const char *id, int32_t enabled,
			       uint64_t epoch, gh_error *error)
{
	sqlite3_stmt *statement =
		gh__store_statement(registry->store,
				    "UPDATE node SET enabled = ?2, admin_epoch = ?3 WHERE id = ?1",
				    error);
	gh_status status;

	if (!statement)
		return GH_EIO;
	sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 2, enabled != 0);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)epoch);
	status = gh__store_run(registry->store, statement, error);
	if (status == GH_OK && sqlite3_changes(gh__store_db(registry->store)) == 0)
		status = gh__fail(error, GH_ENOENT, "node not found: %s", id);
	return status;
}

gh_status gh_registry_enable(gh_registry *registry, const char *id, int32_t enabled, uint64_t epoch,
			     gh_error *error)
{
	gh_status status;

	pthread_mutex_lock(&registry->lock);
	status = enable_locked(registry, id, enabled, epoch, error);
	pthread_mutex_unlock(&registry->lock);
	return status;
}

/* ---- node-config.json ---- */

static gh_status merged_already(gh_registry *registry, bool *already, gh_error *error)
{
	sqlite3_stmt *row =
		gh__store_statement(registry->store,
				    "SELECT 1 FROM fact WHERE name = 'node_config_merged'", error);
	int step;

	if (!row)
		return GH_EIO;
	step = sqlite3_step(row);
	sqlite3_reset(row);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return gh__store_fail(registry->store, "registry: reading facts", error);
	*already = step == SQLITE_ROW;
	return GH_OK;
}

static gh_status merge_node(gh_registry *registry, const json_t *object, size_t index,
			    gh_error *error)
{
	char name[32];
	gh_node *read = NULL, *node = NULL;
	gh_node_list *others = NULL;
	gh_status status;
	size_t i;

	snprintf(name, sizeof name, "node[%zu]", index);
	status = gh__node_from_json(&read, object, name, error);
	if (status != GH_OK)
		return status;
	status = gh__node_copy_clean(&node, read, error);
	gh__free(read);
	if (status == GH_OK)
		status = list_locked(registry, &others, error);
	for (i = 0; status == GH_OK && i < others->count; i++)
		if (strcmp(others->nodes[i].id, node->id) == 0)
			status = gh__fail(error, GH_EEXIST, "duplicate node ID found in config: %s",
					  node->id);
	if (status == GH_OK) {
		status = check_all(node, others, error);
		if (status != GH_OK)
			gh__error_prefix(error, "%s (id: %s): ", name, node->id);
	}
	if (status == GH_OK)
		status = write_node(registry, node, error);
	gh_node_list_free(others);
	gh__free(node);
	return status;
}

static gh_status merge_locked(gh_registry *registry, const json_t *nodes, gh_error *error)
{
	sqlite3_stmt *fact;
	gh_status status = gh__store_begin(registry->store, error);
	size_t i;

	if (status != GH_OK)
		return status;
	for (i = 0; status == GH_OK && i < json_array_size(nodes); i++)
		status = merge_node(registry, json_array_get(nodes, i), i, error);
	if (status == GH_OK) {
		fact = gh__store_statement(
			registry->store,
			"INSERT INTO fact (name, value) VALUES ('node_config_merged', 'true')",
			error);
		status = fact ? gh__store_run(registry->store, fact, error) : GH_EIO;
	}
	if (status == GH_OK)
		return gh__store_commit(registry->store, error);
	gh__store_rollback(registry->store);
	return status;
}

gh_status gh_registry_merge_config(gh_registry *registry, const char *path, int32_t *merged,
				   gh_error *error)
{
	gh_error own = GH_ERROR_INIT;
	json_t *nodes = NULL;
	bool already = false;
	gh_status status;

	error = error ? error : &own;
	pthread_mutex_lock(&registry->lock);
	status = merged_already(registry, &already, error);
	pthread_mutex_unlock(&registry->lock);
	if (status != GH_OK)
		return status;
	if (already) {
		gh__warn("registry",
			 "node configuration was merged before; edits in it have no effect, use "
			 "the admin API path=%s",
			 path);
		*merged = 0;
		return GH_OK;
	}
	nodes = gh__json_read_file(path, CONFIG_FILE_MAX, error);
	if (!nodes)
		return (gh_status)error->status;
	if (!json_is_array(nodes)) {
		json_decref(nodes);
		return gh__fail(error, GH_EFORMAT, "%s: expected an array of nodes", path);
	}
	pthread_mutex_lock(&registry->lock);
	status = merge_locked(registry, nodes, error);
	pthread_mutex_unlock(&registry->lock);
	if (status != GH_OK)
		gh__error_prefix(error, "%s: ", path);
	else
		*merged = 1;
	json_decref(nodes);
	return status;
}
