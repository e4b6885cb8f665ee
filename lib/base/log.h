#ifndef GH_BASE_LOG_H
#define GH_BASE_LOG_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * gh__info("engine", "request finished id=%s tokens=%d", id, n);
 * Never a prompt, an answer, a key or a token. Lines are cut at 1 KiB; control characters and
 * newlines in them are escaped.
 */
#define gh__error(component, ...) gh__log(GH_LOG_ERROR, component, __VA_ARGS__)
#define gh__warn(component, ...)  gh__log(GH_LOG_WARN, component, __VA_ARGS__)
#define gh__info(component, ...)  gh__log(GH_LOG_INFO, component, __VA_ARGS__)
#define gh__debug(component, ...) gh__log(GH_LOG_DEBUG, component, __VA_ARGS__)

bool gh__log_enabled(gh_log_level level);
void gh__log(gh_log_level level, const char *component, const char *format, ...) GH_PRINTF(3, 4);

#endif
