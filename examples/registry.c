/*
 * A program that keeps inference nodes: add one, list all, remove it.
 *
 *   cc registry.c $(pkg-config --cflags --libs gonkahost) -o registry
 *   ./registry /tmp/registry.db
 */
#include <stdio.h>

#include <gonkahost/gonkahost.h>

static const char *const args[] = { "--quantization", "fp8", "--kv-cache-dtype", "fp8" };
static const gh_node_model models[] = { { "Qwen/QwQ-32B", args, 4, NULL, NULL } };

static void print(const gh_node_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		printf("%llu %s at %s:%d, %d at a time, serves %s\n",
		       (unsigned long long)list->nodes[i].number, list->nodes[i].id,
		       list->nodes[i].host, (int)list->nodes[i].inference_port,
		       (int)list->nodes[i].max_concurrent, list->nodes[i].models[0].id);
}

int main(int argc, char **argv)
{
	gh_error error = GH_ERROR_INIT;
	gh_registry *registry = NULL;
	gh_node_list *list = NULL;
	gh_node node = GH_NODE_INIT;
	int32_t removed = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: registry FILE\n");
		return 2;
	}
	node.id = "node1";
	node.host = "http://10.0.0.7/"; /* cleaned to 10.0.0.7 */
	node.inference_port = 5000;
	node.poc_port = 8000;
	node.max_concurrent = 500;
	node.models = models;
	node.model_count = 1;
	if (gh_registry_open(&registry, argv[1], &error) == GH_OK &&
	    gh_registry_put(registry, &node, &error) == GH_OK &&
	    gh_registry_list(registry, &list, &error) == GH_OK) {
		print(list); /* the node is on the disk since put returned */
		if (gh_registry_remove(registry, "node1", &removed, &error) == GH_OK)
			printf("removed: %s\n", removed ? "true" : "false");
	}
	gh_node_list_free(list);
	gh_registry_close(registry);
	if (error.status != GH_OK)
		fprintf(stderr, "registry: %s\n", error.text);
	return error.status != GH_OK;
}
