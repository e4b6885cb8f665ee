#include "network_node/broker_entries.h"

#include <string.h>

#include "base/clock.h"

/*
 * What the admin and public APIs show of nodes.
 */

static json_t *callback_object(const gh__entry *entry)
{
	if (entry->callback == GH__CALLBACK_UNKNOWN)
		return json_null();
	return json_pack("{s:b, s:s}", "reachable", (int)(entry->callback == GH__CALLBACK_REACHED),
			 "problem", entry->callback_problem);
}

static json_t *state_object(const gh__entry *entry)
{
	char since[GH__RFC3339_SIZE], look[GH__RFC3339_SIZE];
	json_t *state = json_object();

	gh__rfc3339(since, entry->status_since);
	json_object_set_new(state, "intended_status",
			    json_string(gh__node_status_name(entry->intended)));
	json_object_set_new(state, "current_status",
			    json_string(gh__node_status_name(entry->current)));
	if (entry->order.kind != GH__ASK_NONE)
		json_object_set_new(state, "reconcile_info",
				    json_pack("{s:i, s:s, s:i}", "status", (int)entry->intended,
					      "poc_status", gh__poc_phase_name(entry->poc_intended),
					      "training_task_id", 0));
	json_object_set_new(state, "poc_intended_status",
			    json_string(gh__poc_phase_name(entry->poc_intended)));
	json_object_set_new(state, "poc_current_status",
			    json_string(gh__poc_phase_name(entry->poc_current)));
	json_object_set_new(state, "lock_count", json_integer(entry->locks));
	json_object_set_new(state, "failure_reason", json_string(entry->failure));
	json_object_set_new(state, "status_timestamp", json_string(since));
	json_object_set_new(state, "admin_state",
			    json_pack("{s:b, s:I}", "enabled", (int)entry->node->enabled, "epoch",
				      (json_int_t)entry->node->admin_epoch));
	json_object_set_new(state, "epoch_models", json_object());
	json_object_set_new(state, "epoch_ml_nodes", json_object());
	json_object_set_new(state, "loaded_model",
			    entry->loaded_model ? json_string(entry->loaded_model) : json_null());
	json_object_set_new(state, "callback", callback_object(entry));
	gh__rfc3339(look, entry->last_look);
	json_object_set_new(state, "last_seen", entry->last_look ? json_string(look) : json_null());
	return state;
}

json_t *gh__broker_state(gh__broker *broker, const char *id)
{
	json_t *state = NULL;
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	entry = gh__broker_find(broker, id);
	if (entry)
		state = state_object(entry);
	pthread_mutex_unlock(&broker->lock);
	return state;
}

static void add_once(json_t *ids, const char *id)
{
	const json_t *known;
	size_t i;

	json_array_foreach(ids, i, known) if (strcmp(json_string_value(known), id) == 0) return;
	json_array_append_new(ids, json_string(id));
}

json_t *gh__broker_models(gh__broker *broker, bool loaded_only)
{
	json_t *ids = json_array();
	const gh__entry *entry;
	size_t i;

	pthread_mutex_lock(&broker->lock);
	for (entry = broker->entries; entry; entry = entry->next) {
		if (!loaded_only)
			for (i = 0; i < entry->node->model_count; i++)
				add_once(ids, entry->node->models[i].id);
		else if (entry->loaded_model)
			add_once(ids, entry->loaded_model);
	}
	pthread_mutex_unlock(&broker->lock);
	return ids;
}
