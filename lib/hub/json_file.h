#ifndef GH_HUB_JSON_FILE_H
#define GH_HUB_JSON_FILE_H

#include "json/json.h"

/* What config.json and generation_config.json have in common. */

/* folder/name as an object; a new reference. GH_ENOENT: no such file. */
gh_status gh__hub_read_json(json_t **out, const char *folder, const char *name, gh_error *error);

/* One token id or a list of at most GH__EOS_MAX; absent: none. Wrong ones are the reader's
 * error. */
void gh__hub_read_ids(gh__json_reader *r, const char *key, int64_t *out, int *count);

/* Ids are below this, and so is every vocabulary's size or equal to it. */
#define GH__TOKEN_MAX ((int64_t)1 << 24)

#endif
