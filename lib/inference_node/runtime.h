#ifndef GH_INFERENCE_NODE_RUNTIME_H
#define GH_INFERENCE_NODE_RUNTIME_H

#include <gonkahost/base.h>

/*
 * The folder of a node's sockets. One that a node makes for itself holds a file that is locked for
 * as long as the node lives, so that another one knows what a node that was killed has left behind.
 */
typedef struct gh__runtime {
	char *path;
	int lock; /* -1: the folder is the operator's */
} gh__runtime;

/* given: an operator's folder, made when it is missing, and kept; NULL: a new one in parent. */
gh_status gh__runtime_make(gh__runtime *out, const char *given, const char *parent,
			   gh_error *error);
void gh__runtime_remove(gh__runtime *runtime); /* its sockets are gone; or nothing was made */

/* Remove from parent what dead nodes of this user left there. What is not surely that stays. */
void gh__runtime_sweep(const char *parent);

#endif
