/* SPDX-License-Identifier: Apache-2.0 */

/*
 * vasctl prints what another process sent, so nothing is believed: names are
 * checked, texts escaped, and what is no printable ASCII becomes a "?".
 */

#include "wire/exposition.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

enum { METRICS_MAX = 1000, SAMPLES_MAX = 10000 };

static const char *member(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key));
}

/* Letters, digits and "_", no digit first. */
static bool is_name(const char *text) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";

        return text && *text && strchr(letters, *text) &&
               strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") ==
                       strlen(text);
}

static bool is_one_of(const char *text, const char *const *words) {
        for (; text && *words; words++)
                if (strcmp(text, *words) == 0)
                        return true;
        return false;
}

/* quoted: a label's value, or any text in OpenMetrics. */
static void print_text(FILE *out, const char *text, bool quoted) {
        for (; *text; text++) {
                unsigned char c = (unsigned char)*text;

                if (c == '\n')
                        fputs("\\n", out);
                else if (c == '\\' || (c == '"' && quoted))
                        fprintf(out, "\\%c", c);
                else
                        fputc(c >= 0x20 && c < 0x7f ? c : '?', out);
        }
}

static int print_labels(FILE *out, const json_t *labels) {
        const char *before = "{";
        const char *name;
        json_t *value;

        json_object_foreach ((json_t *)labels, name, value) {
                if (!is_name(name) || !json_is_string(value))
                        return -EBADMSG;
                fprintf(out, "%s%s=\"", before, name);
                print_text(out, json_string_value(value), true);
                fputc('"', out);
                before = ",";
        }
        if (*before == ',')
                fputc('}', out);
        return 0;
}

static int print_sample(FILE *out, const char *name, const json_t *sample) {
        static const char *const suffixes[] = {"", "_total", "_bucket", "_count", "_sum", NULL};
        const char *suffix = member(sample, "suffix");
        const json_t *labels = json_object_get(sample, "labels"), *value = json_object_get(sample, "value");
        int r;

        if (!is_one_of(suffix, suffixes) || !json_is_object(labels) || !json_is_number(value))
                return -EBADMSG;
        fprintf(out, "%s%s", name, suffix);
        r = print_labels(out, labels);
        if (r < 0)
                return r;
        fputc(' ', out);
        /* jansson's numbers have a point in every locale. */
        if (json_dumpf(value, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) < 0)
                return -ENOMEM;
        fputc('\n', out);
        return 0;
}

static void print_head(FILE *out, const json_t *metric, ExpositionForm form) {
        const char *name = member(metric, "name"), *kind = member(metric, "kind"),
                   *unit = member(metric, "unit");
        bool open = form == EXPOSITION_OPENMETRICS;
        const char *suffix = !open && strcmp(kind, "counter") == 0 ? "_total" : "";

        fprintf(out, "# HELP %s%s ", name, suffix);
        print_text(out, member(metric, "help"), open);
        fprintf(out, "\n# TYPE %s%s %s\n", name, suffix, kind);
        if (open && *unit)
                fprintf(out, "# UNIT %s %s\n", name, unit);
}

static int print_metric(FILE *out, const json_t *metric, ExpositionForm form) {
        static const char *const kinds[] = {"gauge", "counter", "histogram", NULL};
        const char *name = member(metric, "name"), *unit = member(metric, "unit");
        const json_t *samples = json_object_get(metric, "samples"), *sample;
        size_t i;
        int r = 0;

        if (!is_name(name) || !is_one_of(member(metric, "kind"), kinds) || !unit ||
            (*unit && !is_name(unit)) || !member(metric, "help") || !json_is_array(samples) ||
            json_array_size(samples) > SAMPLES_MAX)
                return -EBADMSG;
        print_head(out, metric, form);
        json_array_foreach (samples, i, sample) {
                r = print_sample(out, name, sample);
                if (r < 0)
                        break;
        }
        return r;
}

static int print_metrics(FILE *out, const json_t *metrics, ExpositionForm form) {
        const json_t *metric;
        size_t i;

        if (!json_is_array(metrics) || json_array_size(metrics) > METRICS_MAX)
                return -EBADMSG;
        json_array_foreach (metrics, i, metric) {
                int r = print_metric(out, metric, form);

                if (r < 0)
                        return r;
        }
        if (form == EXPOSITION_OPENMETRICS)
                fputs("# EOF\n", out);
        return 0;
}

int exposition_new(const json_t *metrics, ExpositionForm form, char **ret) {
        AUTO_FREE char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        int r;

        if (!out)
                return -ENOMEM;
        r = print_metrics(out, metrics, form);
        if (fclose(out) != 0 && r == 0)
                r = -ENOMEM;
        if (r == 0)
                *ret = STEAL_PTR(text);
        return r;
}
