#ifndef GH_SERVE_INFO_H
#define GH_SERVE_INFO_H

#include "serve/exchange.h"

/* Answers that are known at once. */
void gh__info_health(gh__exchange *x);
void gh__info_models(gh__exchange *x);
void gh__info_version(gh__exchange *x);
void gh__info_load(gh__exchange *x);
void gh__info_metrics(gh__exchange *x);

/* 503 while the model loads, 500 when it never will. */
void gh__info_not_ready(gh__exchange *x);

#endif
