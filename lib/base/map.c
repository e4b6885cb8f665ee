#include "base/map.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/random.h"

/*
 * Entries lie in insertion order in one array; a table of their numbers, twice as large or more, is
 * what hashes look into. A removed entry keeps its place in both until the next growth.
 */
typedef struct entry {
	char *key; /* NULL: removed */
	void *value;
	size_t len;
	uint64_t hash;
} entry;

#define EMPTY         UINT32_MAX
#define FIRST_ENTRIES 8
#define ENTRIES_LIMIT (UINT32_C(1) << 30)

struct gh__map {
	gh__map_release_fn *release;
	uint64_t seed[2];
	entry *entries;
	uint32_t *table;   /* entry numbers, or EMPTY; 2 * capacity of them */
	uint32_t used;     /* entries in the array, removed ones included */
	uint32_t live;     /* entries not removed */
	uint32_t capacity; /* a power of two, or 0 */
};

static inline uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein 2012): short, and collisions need the seed. */
static uint64_t hash_of(const gh__map *map, const char *key, size_t len)
{
	uint64_t v[4] = { map->seed[0] ^ UINT64_C(0x736f6d6570736575),
			  map->seed[1] ^ UINT64_C(0x646f72616e646f6d),
			  map->seed[0] ^ UINT64_C(0x6c7967656e657261),
			  map->seed[1] ^ UINT64_C(0x7465646279746573) };
	uint64_t word;
	size_t at = 0;

	for (; at + 8 <= len; at += 8) {
		memcpy(&word, key + at, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)len << 56;
	for (int shift = 0; at < len; at++, shift += 8)
		word |= (uint64_t)(unsigned char)key[at] << shift;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

gh_status gh__map_create(gh__map **out, gh__map_release_fn *release, gh_error *error)
{
	gh__map *map = gh__calloc(1, sizeof *map);

	if (!map)
		return gh__fail_nomem(error);
	map->release = release;
	gh__random_bytes(map->seed, sizeof map->seed);
	*out = map;
	return GH_OK;
}

static void let_go(gh__map *map, void *value)
{
	if (map->release)
		map->release(value);
}

void gh__map_free(gh__map *map)
{
	if (!map)
		return;
	for (uint32_t i = 0; i < map->used; i++) {
		if (!map->entries[i].key)
			continue;
		gh__free(map->entries[i].key);
		let_go(map, map->entries[i].value);
	}
	gh__free(map->entries);
	gh__free(map->table);
	gh__free(map);
}

static void table_insert(uint32_t *table, uint32_t mask, uint64_t hash, uint32_t number)
{
	uint32_t slot = (uint32_t)hash & mask;

	while (table[slot] != EMPTY)
		slot = (slot + 1) & mask;
	table[slot] = number;
}

/* Close the gaps of removed entries, in an array twice as large when it is more than half full. */
static bool grow(gh__map *map)
{
	uint32_t capacity = map->capacity ? map->capacity : FIRST_ENTRIES;
	uint32_t used = 0;

	if (map->live > capacity / 2)
		capacity *= 2;
	if (capacity > ENTRIES_LIMIT)
		return false;
	entry *entries = gh__realloc_array(NULL, capacity, sizeof *entries);
	uint32_t *table = gh__realloc_array(NULL, (size_t)capacity * 2, sizeof *table);
	if (!entries || !table) {
		gh__free(entries);
		gh__free(table);
		return false;
	}
	memset(table, 0xff, (size_t)capacity * 2 * sizeof *table);
	for (uint32_t i = 0; i < map->used; i++) {
		if (!map->entries[i].key)
			continue;
		entries[used] = map->entries[i];
		table_insert(table, capacity * 2 - 1, entries[used].hash, used);
		used++;
	}
	gh__free(map->entries);
	gh__free(map->table);
	map->entries = entries;
	map->table = table;
	map->used = used;
	map->capacity = capacity;
	return true;
}

static entry *find(const gh__map *map, const char *key, size_t len, uint64_t hash)
{
	if (map->live == 0)
		return NULL;
	uint32_t mask = map->capacity * 2 - 1;
	for (uint32_t slot = (uint32_t)hash & mask; map->table[slot] != EMPTY;
	     slot = (slot + 1) & mask) {
		entry *e = &map->entries[map->table[slot]];

		if (e->key && e->hash == hash && e->len == len && memcmp(e->key, key, len) == 0)
			return e;
	}
	return NULL;
}

gh_status gh__map_put(gh__map *map, const char *key, void *value, gh_error *error)
{
	return gh__map_put_n(map, key, strlen(key), value, error);
}

gh_status gh__map_put_n(gh__map *map, const char *key, size_t len, void *value, gh_error *error)
{
	uint64_t hash = hash_of(map, key, len);
	entry *e = find(map, key, len, hash);

	if (e) {
		void *older = e->value;

		e->value = value;
		if (older != value)
			let_go(map, older);
		return GH_OK;
	}
	if (map->used == map->capacity && !grow(map))
		return gh__fail_nomem(error);
	char *copy = gh__strndup(key, len);
	if (!copy)
		return gh__fail_nomem(error);
	map->entries[map->used] = (entry){ copy, value, len, hash };
	table_insert(map->table, map->capacity * 2 - 1, hash, map->used);
	map->used++;
	map->live++;
	return GH_OK;
}

void *gh__map_get(const gh__map *map, const char *key)
{
	return gh__map_get_n(map, key, strlen(key));
}

void *gh__map_get_n(const gh__map *map, const char *key, size_t len)
{
	const entry *e = find(map, key, len, hash_of(map, key, len));

	return e ? e->value : NULL;
}

bool gh__map_remove(gh__map *map, const char *key)
{
	size_t len = strlen(key);
	entry *e = find(map, key, len, hash_of(map, key, len));

	if (!e)
		return false;
	void *value = e->value;
	gh__free(e->key);
	e->key = NULL;
	e->value = NULL;
	map->live--;
	let_go(map, value);
	return true;
}

size_t gh__map_count(const gh__map *map)
{
	return map->live;
}

bool gh__map_next(const gh__map *map, size_t *cursor, const char **key, void **value)
{
	while (*cursor < map->used) {
		const entry *e = &map->entries[(*cursor)++];

		if (!e->key)
			continue;
		if (key)
			*key = e->key;
		if (value)
			*value = e->value;
		return true;
	}
	return false;
}
