#ifndef GH_BASE_MAP_H
#define GH_BASE_MAP_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * A map from byte strings to pointers: open addressing, keys copied, insertion order kept.
 * Hashes are seeded at random per map, so foreign keys cannot be chosen to collide.
 */
typedef struct gh__map gh__map;

typedef void gh__map_release_fn(void *value);

/* release, if not NULL, is called for each value that the map lets go of. */
gh_status gh__map_create(gh__map **out, gh__map_release_fn *release, gh_error *error);
void gh__map_free(gh__map *map);

/* Takes value if it returns GH_OK; an older value of the key is released. */
gh_status gh__map_put(gh__map *map, const char *key, void *value, gh_error *error);
gh_status gh__map_put_n(gh__map *map, const char *key, size_t len, void *value, gh_error *error);
void *gh__map_get(const gh__map *map, const char *key); /* NULL: not there */
void *gh__map_get_n(const gh__map *map, const char *key, size_t len);
bool gh__map_remove(gh__map *map, const char *key); /* false: was not there */
size_t gh__map_count(const gh__map *map);

/* Walk in insertion order: *cursor starts at 0; false at the end. No insertion meanwhile. */
bool gh__map_next(const gh__map *map, size_t *cursor, const char **key, void **value);

#endif
