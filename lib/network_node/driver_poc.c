#include "network_node/entry.h"

#include <stdio.h>
#include <string.h>

#include "json/json.h"

/*
 * Proofs of compute, as a node tells of them in /pow/status: fields that every node has, and some
 * more that only ours have.
 */
const char *gh__poc_phase_name(gh__poc_phase phase)
{
	static const char *const names[] = { "IDLE", "GENERATING", "VALIDATING" };

	return names[phase];
}

static gh__poc_phase phase_of(const char *name)
{
	for (gh__poc_phase phase = GH__POC_GENERATING; phase <= GH__POC_VALIDATING; phase++)
		if (name && strcmp(name, gh__poc_phase_name(phase)) == 0)
			return phase;
	return GH__POC_IDLE;
}

static int64_t count_of(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value)
									: -1;
}

void gh__driver_read_poc(gh__entry *entry, int64_t now)
{
	const char *body = entry->look.body;
	json_t *answer = body ? gh__json_parse(body, strlen(body), false, NULL) : NULL;
	const char *problem = json_string_value(json_object_get(answer, "problem"));
	gh__poc_seen *seen = &entry->poc_seen;

	if (!problem)
		problem = json_string_value(json_object_get(answer, "callback_problem"));
	seen->phase = phase_of(json_string_value(json_object_get(answer, "status")));
	seen->initialised = json_is_true(json_object_get(answer, "is_model_initialized"));
	seen->tried = count_of(answer, "nonces_tried");
	seen->unsent = count_of(answer, "proofs_to_send");
	seen->at = now;
	snprintf(seen->problem, sizeof seen->problem, "%s", problem ? problem : "");
	json_decref(answer);
}

bool gh__driver_told(const gh__entry *entry)
{
	return entry->intended == GH__NODE_POC && entry->poc_told == entry->poc_intended;
}

/* What it does may still be of an earlier round: only what it was told of this one counts. */
bool gh__driver_proves(const gh__entry *entry)
{
	return entry->seen == GH__NODE_POC && gh__driver_told(entry) &&
	       entry->poc_seen.phase == entry->poc_intended;
}
